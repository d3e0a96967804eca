# SPDX-License-Identifier: Apache-2.0
"""While one client fetches a blob, hubcached and the real client wait for each other, and hubcached
reports the other client's progress and takes over when it stalls."""

import fcntl
import pathlib
import signal
import subprocess

import pytest

from content import BIG, BIG_FILES
from world import TIMEOUT, incompletes, program, wait_until

NAME = "first.safetensors"
CONTENT = BIG_FILES[NAME]

# The real client writes ten mebibytes at a time.
LARGE = "org/large"
LARGE_FILE = bytes(13 << 20)
WRITTEN = 10 << 20


def can_take_over():
    usage = subprocess.run([program("hubcached"), "--help"], capture_output=True, text=True,
                           timeout=TIMEOUT)
    return "--takeover-after" in usage.stdout


def download(repo, cache):
    return "hf_hub_download", {"repo_id": repo, "filename": NAME, "cache_dir": str(cache)}


def partial_of(cache):
    wait_until(lambda: incompletes(cache), "a partial")
    return pathlib.Path(incompletes(cache)[0])


def watch(server, repo):
    """Yields events as they arrive: (progress, None), and at last (None, result)."""
    for event in server.WatchSnapshot(snapshot={"repo_id": repo, "allow_patterns": [NAME]}):
        is_last = event.WhichOneof("event") == "result"
        yield (None, event.result) if is_last else (event.progress, None)


def test_hubcached_reports_the_progress_of_the_real_client(oracle, hub, serve, cache):
    hub.commit(f"models/{LARGE}", {NAME: LARGE_FILE}, lfs=[NAME])
    hub.rule("stall", on_cdn=True, method="GET", times=1, number=WRITTEN + (1 << 20))
    started = oracle.start(download(LARGE, cache), endpoint=hub.endpoint)
    partial = partial_of(cache)
    wait_until(lambda: partial.stat().st_size == WRITTEN, "the bytes before the stall")

    was_seen = False
    for progress, result in watch(serve(cache, hub.endpoint), LARGE):
        if progress and (progress.files_waiting, progress.bytes_done) == (1, WRITTEN):
            was_seen = list(progress.active_files) == [NAME]
            hub.release()

    assert was_seen
    assert pathlib.Path(result.path, NAME).read_bytes() == LARGE_FILE
    assert result.downloaded_bytes == 0
    assert "error" not in oracle.finish(started)[0]
    assert len(hub.gets()) == 1
    assert incompletes(cache) == []


def test_hubcached_reports_the_growth_of_another_clients_file(hub, serve, cache, tmp_path):
    etag = serve(tmp_path / "other", hub.endpoint).file(BIG, NAME).etag
    hub.clear_log()
    folder = cache / "models--org--big" / "blobs"
    lock = cache / ".locks" / "models--org--big" / f"{etag}.lock"
    folder.mkdir(parents=True)
    lock.parent.mkdir(parents=True)
    partial = folder / f"{etag}.0123abcd.incomplete"
    step = len(CONTENT) // 4
    seen = []

    with open(lock, "w") as held, open(partial, "wb", buffering=0) as file:
        fcntl.flock(held, fcntl.LOCK_EX)
        for progress, result in watch(serve(cache, hub.endpoint), BIG):
            if result or progress.files_waiting == 0 or progress.bytes_done != file.tell():
                continue
            seen.append(progress.bytes_done)
            if file.tell() < len(CONTENT):
                file.write(CONTENT[file.tell():file.tell() + step])
            elif partial.exists():
                partial.rename(folder / etag)
                fcntl.flock(held, fcntl.LOCK_UN)

    assert sorted(set(seen)) == [0, step, 2 * step, 3 * step, len(CONTENT)]
    assert pathlib.Path(result.path, NAME).read_bytes() == CONTENT
    assert hub.gets() == []


def test_the_real_client_waits_for_hubcached(oracle, hub, serve, cache):
    hub.rule("stall", on_cdn=True, method="GET", times=1, number=3 << 20)
    server = serve(cache, hub.endpoint)
    call = server.start("ResolveFile", repo_id=BIG, filename=NAME)
    hub.await_stall()

    started = oracle.start(download(BIG, cache), endpoint=hub.endpoint)
    hub.await_requests(2, method="HEAD", contains=NAME)  # one is hubcached's
    hub.release()

    assert call.result().file.path == oracle.finish(started)[0]["result"]
    assert len(hub.gets()) == 1
    assert incompletes(cache) == []


@pytest.mark.skipif(not can_take_over(), reason="this hubcached has no --takeover-after")
def test_hubcached_takes_over_from_a_stalled_real_client(oracle, hub, serve, cache):
    hub.rule("stall", on_cdn=True, method="GET", times=1, number=3 << 20)
    started = oracle.start(download(BIG, cache), endpoint=hub.endpoint)
    hub.await_stall()
    theirs = partial_of(cache)
    started[0].send_signal(signal.SIGSTOP)
    try:
        server = serve(cache, hub.endpoint, arguments=["--takeover-after", "2s"])
        file = server.file(BIG, NAME)

        assert pathlib.Path(file.path).read_bytes() == CONTENT
        assert theirs.exists(), "only its client may remove it"
        assert len(hub.gets()) == 2
    finally:
        started[0].send_signal(signal.SIGCONT)
    hub.release()
    assert oracle.finish(started)[0]["result"] == file.path
    assert pathlib.Path(file.path).read_bytes() == CONTENT
    assert incompletes(cache) == []
