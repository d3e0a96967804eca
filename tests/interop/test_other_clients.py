# SPDX-License-Identifier: Apache-2.0
"""The Hub's clients in other languages and hubcached share a cache: Rust's hf-hub, built here if
there is a cargo and it takes no longer than BUILD_TIME; JavaScript's @huggingface/hub."""

import pathlib
import shutil
import subprocess

import pytest

from content import FILES, LFS_FILE, MODEL
from world import HERE, TIMEOUT, Hub, incompletes, run_group, wait_until

BUILD_TIME = 1800  # seconds: the machine may be busy
OWNER, NAME = MODEL.split("/")
SOME = ["config.json", "model.safetensors", "nested/deep/down/file.txt", "empty.txt"]


@pytest.fixture(scope="module")
def rust(rust_build):
    """rust(endpoint, cache, revision, "online" | "offline", files) is the paths it answers."""
    if not rust_build:
        pytest.skip("there is no cargo")
    try:
        errors = rust_build.process.communicate(timeout=BUILD_TIME)[1]
    except subprocess.TimeoutExpired:
        pytest.skip("hf-hub does not build here: it takes too long")
    if rust_build.process.returncode != 0:
        pytest.skip("hf-hub does not build here: " + errors.strip().splitlines()[-1])

    def ask(endpoint, cache, revision, network, files):
        result = run_group([rust_build.program, endpoint, str(cache), OWNER, NAME, revision,
                            network, *files], TIMEOUT)
        assert result and result.returncode == 0, result and result.stderr
        return result.stdout.splitlines()

    return ask


@pytest.fixture
def plain_hub(repos):
    """A hub without Xet: with it, the Rust client uses nothing else."""
    with Hub(repos, "--no-xet") as hub:
        yield hub


def test_rust_reads_files_of_hubcached_offline(rust, plain_hub, serve, cache):
    answer = serve(cache, plain_hub.endpoint).ResolveSnapshot(repo_id=MODEL)
    plain_hub.clear_log()

    for revision in ("main", answer.commit_hash):
        paths = rust(plain_hub.endpoint, cache, revision, "offline", SOME)

        assert paths == [f"{answer.path}/{name}" for name in SOME]
        assert [pathlib.Path(path).read_bytes() for path in paths] == \
            [FILES[name] for name in SOME]
    assert plain_hub.log() == []


def test_hubcached_reads_files_of_rust_offline(rust, plain_hub, serve, cache):
    paths = rust(plain_hub.endpoint, cache, "main", "online", SOME)
    plain_hub.clear_log()

    server = serve(cache, plain_hub.endpoint, arguments=["--offline"])

    assert [server.file(MODEL, name).path for name in SOME] == paths
    assert plain_hub.log() == []


def test_rust_and_hubcached_fetch_in_turn(rust, plain_hub, serve, cache):
    server = serve(cache, plain_hub.endpoint)
    server.file(MODEL, "model.safetensors")
    rust(plain_hub.endpoint, cache, "main", "online", SOME)
    file = server.file(MODEL, "config.json")

    assert pathlib.Path(file.path).read_bytes() == FILES["config.json"]
    assert sum(request.bytes for request in plain_hub.gets()) == len(LFS_FILE)
    assert incompletes(cache) == []


def test_rust_leaves_hubcacheds_partial_file_alone(rust, plain_hub, serve, cache):
    plain_hub.rule("stall", on_cdn=True, method="GET", times=1, number=len(LFS_FILE) // 2)
    server = serve(cache, plain_hub.endpoint)
    call = server.start("ResolveFile", repo_id=MODEL, filename="model.safetensors")
    plain_hub.await_stall()
    wait_until(lambda: incompletes(cache), "a partial")
    assert not call.done()
    server.kill()
    plain_hub.clear_rules()
    plain_hub.release()
    plain_hub.clear_log()
    (partial,) = map(pathlib.Path, incompletes(cache))
    before = partial.stat()

    (path,) = rust(plain_hub.endpoint, cache, "main", "online", ["model.safetensors"])

    assert pathlib.Path(path).read_bytes() == LFS_FILE
    assert sum(request.bytes for request in plain_hub.gets()) == len(LFS_FILE)
    after = partial.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.fixture(scope="module")
def javascript(tmp_path_factory):
    if not shutil.which("npm") or not shutil.which("node"):
        pytest.skip("there is no node")
    folder = tmp_path_factory.mktemp("javascript")
    shutil.copy(HERE / "javascript" / "ask.mjs", folder)
    (folder / "package.json").write_text('{"private": true}')
    installed = run_group(["npm", "install", "--no-audit", "--no-fund", "@huggingface/hub"],
                          BUILD_TIME, cwd=folder)
    if not installed or installed.returncode != 0:
        pytest.skip("@huggingface/hub cannot be installed here")

    def ask(*arguments):
        result = run_group(["node", "ask.mjs", *map(str, arguments)], TIMEOUT, cwd=folder)
        assert result and result.returncode == 0, result and result.stderr
        return result.stdout.splitlines()

    return ask


def test_javascript_reads_files_of_hubcached_without_a_request(javascript, hub, serve, cache):
    answer = serve(cache, hub.endpoint).ResolveSnapshot(repo_id=MODEL)
    hub.clear_log()

    paths = javascript(hub.endpoint, cache, MODEL, answer.commit_hash, *SOME)

    assert paths == [f"{answer.path}/{name}" for name in SOME]
    assert hub.log() == []
