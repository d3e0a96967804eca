# SPDX-License-Identifier: Apache-2.0
"""Rust's hf-hub as a program: tests/interop/rust, built for speed."""

import functools
import shutil
import subprocess

from figures import Failed
import world

BUILD_TIME = 900  # seconds


@functools.cache
def program():
    """The path of the program `ask`; fails where it does not build."""
    if not shutil.which("cargo"):
        raise Failed("there is no cargo")
    target, project = world.BUILD.parent / "rust", world.BUILD.parent / "rust-project"
    # A copy: cargo writes its lock file beside Cargo.toml.
    shutil.copytree(world.HERE / "rust", project, dirs_exist_ok=True)
    try:
        subprocess.run(["cargo", "build", "--quiet", "--release", "--target-dir", target],
                       cwd=project, check=True, capture_output=True, timeout=BUILD_TIME)
    except subprocess.SubprocessError as error:
        raise Failed(f"hf-hub does not build here: {error}") from error
    return target / "release" / "ask"
