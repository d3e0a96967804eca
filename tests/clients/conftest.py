# SPDX-License-Identifier: Apache-2.0
"""Fixtures: `ask` (the example of each language in turn), `hub`, `serve` (starts hubcached)."""

import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import typing

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "interop"))

import world

from fixtures import hub, pb, repos, serve as serve_at  # for pytest

BUILD_TIME = 1200  # seconds, of which downloads may take most


class Language(typing.NamedTuple):
    tools: str  # that must be installed
    command: str  # that runs the example, in its project


# The slowest to build first.
LANGUAGES = {
    "rust": Language("cargo protoc", "target/debug/ask"),
    "cpp": Language("cmake protoc grpc_cpp_plugin", "build/ask"),
    "java": Language("java mvn", "java -cp target/classes:target/dependency/* Ask"),
    "go": Language("go protoc", "./ask"),
    "python": Language("python3", "venv/bin/python ask.py"),
    "node": Language("node npm", "node ask.mjs"),
}


def project_of(language):
    return world.ROOT / "build" / "clients" / language


def build(language):
    """Fails the tests of the language when its example does not build."""
    built = world.run_group([str(HERE / "build"), language], BUILD_TIME)
    assert built, f"{language}: the build takes longer than {BUILD_TIME} s"
    assert built.returncode == 0, built.stdout + built.stderr


@pytest.fixture(scope="session")
def builds():
    """{language: future of its build}; as many are built at a time as there are processors."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {name: pool.submit(build, name) for name, language in LANGUAGES.items()
               if all(map(shutil.which, language.tools.split()))}


class Ask:
    """The example of one language, for one server and mount."""

    def __init__(self, language, address, mount):
        self.language = language
        self.environment = world.CLEAN | {"HUBCACHE_SERVER": address,
                                          "HUBCACHE_MOUNT": str(mount)}

    def start(self, *arguments, seconds=world.TIMEOUT):
        command = LANGUAGES[self.language].command.split()
        return subprocess.Popen([*command, *map(str, arguments), str(seconds)],
                                cwd=project_of(self.language), stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env=self.environment)

    def __call__(self, *arguments, **options):
        """(exit status, standard output, [lines of standard error])"""
        with self.start(*arguments, **options) as process:
            return finish(process)


def finish(process):
    output, errors = process.communicate(timeout=world.TIMEOUT * 2)
    return process.returncode, output, errors.decode().splitlines()


@pytest.fixture(scope="session", params=reversed(LANGUAGES))
def language(request, builds):
    """Each language in turn, its example built."""
    if request.param not in builds:
        pytest.skip(f"not all are installed of: {LANGUAGES[request.param].tools}")
    builds[request.param].result()
    return request.param


@pytest.fixture
def serve(serve_at, hub, tmp_path):
    """serve(argument, …) starts a hubcached that ends with the test; all share a cache."""
    return lambda *arguments: serve_at(tmp_path / "cache", hub.endpoint, arguments=arguments)


@pytest.fixture
def mount(tmp_path):
    """The place where the clients see the cache: another one than the server's."""
    (tmp_path / "mount").symlink_to(tmp_path / "cache")
    return tmp_path / "mount"


@pytest.fixture
def ask(language, serve, mount):
    """ask("file", repo, filename) runs the example with a server of its own."""
    return Ask(language, serve().address, mount)
