# SPDX-License-Identifier: Apache-2.0
"""Fixtures: `oracle` (each version of the real client in turn), `cache`, those of fixtures.py."""

import os
import shutil
import signal
import subprocess
import sys
import typing

import pytest

import world

from fixtures import hub, pb, repos, serve  # for pytest

ORACLES = [world.Oracle("newest", os.environ.get("HC_ORACLE_NEW", sys.executable))]
if os.environ.get("HC_ORACLE_OLD"):
    ORACLES.append(world.Oracle("1.29", os.environ["HC_ORACLE_OLD"]))


@pytest.fixture(scope="session", params=ORACLES, ids=repr)
def oracle(request):
    return request.param


@pytest.fixture(scope="session")
def newest():
    return ORACLES[0]


@pytest.fixture(scope="session")
def quiet_hub(repos):
    """A hub for tests that neither add rules nor read the log."""
    with world.Hub(repos) as hub:
        yield hub


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


class RustBuild(typing.NamedTuple):
    process: subprocess.Popen  # cargo's
    program: str


@pytest.fixture(scope="session", autouse=True)
def rust_build(request):
    """The build of Rust's hf-hub, when a test wants it and there is a cargo; else None. It takes
    minutes of a processor, in which most of the other tests wait for something else."""
    wanted = any("rust" in item.fixturenames for item in request.session.items)
    if not wanted or not shutil.which("cargo"):
        yield None
        return
    target = os.environ.get("CARGO_TARGET_DIR", str(world.BUILD.parent / "rust"))
    # A copy: cargo writes its lock file beside Cargo.toml.
    project = world.BUILD.parent / "rust-project"
    shutil.copytree(world.HERE / "rust", project, dirs_exist_ok=True)
    with subprocess.Popen(["nice", "cargo", "build", "--quiet", "--target-dir", target],
                          cwd=project, env=world.CLEAN, text=True, start_new_session=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:
        yield RustBuild(process, target + "/debug/ask")
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
