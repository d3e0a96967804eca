# SPDX-License-Identifier: Apache-2.0
"""A machine without the cache volume: `hubcache cat` writes the bytes of a file, and `hubcache pull`
a cache that the real client reads as if it had fetched the files itself. What is there is not read
again, what is there in part is continued, and nothing becomes visible that is not right."""

import json
import os
import pathlib
import re
import subprocess
import urllib.request

import pytest

from content import FILES, MODEL
from world import CLEAN, TIMEOUT, blobs_of, hubcache, incompletes, program, wait_until

OFFLINE = {"HF_HUB_OFFLINE": "1"}
LFS_FILE = "nested/weights.bin"


@pytest.fixture
def server(hub, serve, cache):
    return serve(cache, hub.endpoint, arguments=["--http-listen", "127.0.0.1:0"])


@pytest.fixture
def own(tmp_path):
    return tmp_path / "own"


def pull(own, *arguments, server):
    done = hubcache("pull", MODEL, "--to", str(own), "--quiet", *arguments, server=server)
    assert done.returncode == 0, done.stderr
    return done.stdout.rstrip("\n")


def read_bytes(server):
    """Bytes of files that the server has read for its callers so far."""
    address = re.search(r"http://127[0-9.:]+", server.log())[0]
    page = urllib.request.urlopen(f"{address}/metrics", timeout=TIMEOUT).read().decode()
    return int(float(re.search(r"^hubcache_read_bytes_total (\S+)$", page, re.M)[1]))


def test_cat_writes_the_bytes_of_every_file(server):
    for name, content in FILES.items():
        done = subprocess.run([program("hubcache"), "--server", server.address, "cat", MODEL, name],
                              capture_output=True, env=CLEAN, timeout=TIMEOUT)
        assert (done.returncode, done.stdout) == (0, content), done.stderr


def test_cat_tells_a_damaged_blob(server, cache):
    path = pathlib.Path(server.file(MODEL, LFS_FILE).path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.resolve().write_bytes(content)
    done = subprocess.run([program("hubcache"), "--server", server.address, "cat", MODEL, LFS_FILE],
                          capture_output=True, env=CLEAN, timeout=TIMEOUT)
    assert done.returncode == 1 and b"hash" in done.stderr and done.stdout == content


def test_cat_goes_on_when_the_server_is_killed_and_comes_back(serve, hub, cache, tmp_path):
    name, content = "large.bin", os.urandom(64 << 20)
    hub.commit(f"models/{MODEL}", {name: content}, lfs=(name,))
    address = f"unix:{tmp_path}/socket"
    server = serve(cache, hub.endpoint, arguments=["--listen", address])
    server.file(MODEL, name)
    process = subprocess.Popen([program("hubcache"), "--server", address, "cat", MODEL, name],
                               env=CLEAN, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    start = process.stdout.read(1 << 20)  # the rest waits for this reader
    server.kill()
    serve(cache, hub.endpoint, arguments=["--listen", address])
    rest, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, errors
    assert start + rest == content


def test_the_real_client_reads_what_was_pulled_offline(oracle, server, hub, own):
    path = pull(own, server=server)
    assert pathlib.Path(path).parent.parent.parent == own.resolve()
    hub.clear_log()

    found = oracle("snapshot_download", repo_id=MODEL, cache_dir=str(own), local_files_only=True,
                   endpoint=hub.endpoint, environment=OFFLINE)

    assert found == path
    assert {name: (pathlib.Path(path) / name).read_bytes() for name in FILES} == FILES
    assert all((pathlib.Path(path) / name).is_symlink() for name in FILES)
    assert hub.log() == [] and incompletes(own) == []


def test_what_was_pulled_is_not_read_again(server, own):
    first = pull(own, server=server)
    before = read_bytes(server)
    assert before == sum(map(len, set(FILES.values())))
    assert pull(own, server=server) == first
    assert read_bytes(server) == before
    assert pull(own, "--force", server=server) == first
    assert read_bytes(server) == before + sum(map(len, FILES.values()))


@pytest.mark.parametrize("saved", [0, 1, 1000, -1])
def test_a_file_that_is_there_in_part_is_continued(server, own, saved):
    etag = server.file(MODEL, LFS_FILE).etag
    content = FILES[LFS_FILE]
    blobs = own / ("models--" + MODEL.replace("/", "--")) / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{etag}.incomplete").write_bytes(content[:saved])

    pull(own, "--include", LFS_FILE, server=server)

    assert (blobs / etag).read_bytes() == content
    assert read_bytes(server) == len(content) - len(content[:saved])
    assert incompletes(own) == []


def test_a_wrong_start_of_a_file_is_replaced(server, own):
    etag = server.file(MODEL, LFS_FILE).etag
    blobs = own / ("models--" + MODEL.replace("/", "--")) / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{etag}.incomplete").write_bytes(b"x" * 100)
    pull(own, "--include", LFS_FILE, server=server)
    assert (blobs / etag).read_bytes() == FILES[LFS_FILE]


def test_a_damaged_file_does_not_become_visible(server, own, cache):
    path = pathlib.Path(server.file(MODEL, LFS_FILE).path)
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.resolve().write_bytes(content)
    done = hubcache("pull", MODEL, "--to", str(own), "-q", "--include", LFS_FILE, "--json", server=server)
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["reason"] == "CHECKSUM_MISMATCH"
    assert os.path.basename(os.readlink(path)) not in blobs_of(own)
    assert not list(own.glob("models--*/refs/*"))


def test_a_pull_that_is_killed_is_continued(server, hub, own):
    name, content = "large.bin", os.urandom(64 << 20)
    commit = hub.commit(f"models/{MODEL}", {name: content}, lfs=(name,))
    process = subprocess.Popen([program("hubcache"), "--server", server.address, "pull", MODEL, "--to",
                                str(own)], env=CLEAN, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: any(path.stat().st_size for path in own.glob("models--*/blobs/*.incomplete"))
               or process.poll() is not None, "bytes that are saved")
    process.kill()
    process.communicate(timeout=TIMEOUT)
    path = pull(own, server=server)
    assert commit in path and (pathlib.Path(path) / name).read_bytes() == content
    assert incompletes(own) == []


def test_pull_answers_with_the_paths_of_this_machine(server, own):
    done = hubcache("pull", MODEL, "--to", str(own), "-q", "--include", "*.json", "--json", server=server)
    answer = json.loads(done.stdout)
    assert answer["path"].startswith(str(own.resolve()))
    assert all(os.path.isfile(file["path"]) for file in answer["files"]) and answer["files"]
    assert {file["filename"] for file in answer["files"]} == {name for name in FILES if name.endswith(".json")}


def test_pull_needs_a_directory_and_a_repo_of_the_hub(server, own):
    done = hubcache("pull", MODEL, server=server)
    assert done.returncode == 2 and "--to" in done.stderr
