# SPDX-License-Identifier: Apache-2.0
"""kill -9 during a snapshot: afterwards every client reads correct bytes; the next run fetches only
the files that had not arrived whole, and sweeps the partial files of the killed run."""

import pathlib

import pytest

from content import BIG, BIG_FILES
from world import blobs_of, fails_with, incompletes, survey, wait_until


@pytest.fixture
def killed(hub, serve, cache):
    """The Hub after a hubcached was killed when half of one of three large files had arrived."""
    hub.rule("stall", on_cdn=True, method="GET", times=1, number=3 << 20)
    server = serve(cache, hub.endpoint)
    call = server.start("ResolveSnapshot", repo_id=BIG)
    hub.await_stall()
    whole = len(BIG_FILES) - 1
    wait_until(lambda: sum(map(pathlib.Path.is_file, cache.glob("*/snapshots/*/**/*"))) == whole,
               "all files but the stalled one")
    assert not call.done()
    server.kill()
    hub.clear_rules()
    hub.release()
    return hub


def test_the_next_run_completes_the_snapshot_and_fetches_nothing_twice(killed, serve, cache):
    assert len(killed.gets()) == 3
    had_arrived = {path.name: path.stat().st_ino for path in blobs_of(cache).values()
                   if not path.name.endswith(".incomplete")}
    killed.clear_log()

    answer = serve(cache, killed.endpoint).ResolveSnapshot(repo_id=BIG)

    for name, content in BIG_FILES.items():
        assert (pathlib.Path(answer.path) / name).read_bytes() == content
    assert len(killed.gets()) == 1
    assert killed.gets("hub") == [], "the small files had arrived"
    assert {path.name: path.stat().st_ino for path in blobs_of(cache).values()
            if path.name in had_arrived} == had_arrived
    assert answer.completeness == 1


def test_partial_files_of_the_killed_run_are_swept(killed, serve, cache):
    assert incompletes(cache), "the case to be tested"

    serve(cache, killed.endpoint).ResolveSnapshot(repo_id=BIG)

    assert incompletes(cache) == []
    leftovers = [path for path, node in survey(cache).items()
                 if node.kind == "file" and path.startswith((".hubcache/transfers",
                                                             ".hubcache/tmp"))]
    assert leftovers == []


def test_the_real_client_reads_correct_bytes_after_a_killed_run(killed, oracle, cache):
    path = oracle("snapshot_download", repo_id=BIG, cache_dir=str(cache),
                  endpoint=killed.endpoint)

    for name, content in BIG_FILES.items():
        assert (pathlib.Path(path) / name).read_bytes() == content


def test_offline_an_interrupted_snapshot_does_not_count_as_whole(killed, serve, cache):
    commit = killed.commit_of(f"models/{BIG}")
    server = serve(cache, killed.endpoint, arguments=["--offline"])

    with fails_with("INCOMPLETE_SNAPSHOT") as failure:
        server.ResolveSnapshot(repo_id=BIG, revision=commit)
    with fails_with("NOT_CACHED"):  # the ref is written after the bytes
        server.ResolveSnapshot(repo_id=BIG)

    assert failure.metadata["missing_count"] == "1"
    assert failure.metadata["missing"].strip() in BIG_FILES
