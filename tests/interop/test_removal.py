# SPDX-License-Identifier: Apache-2.0
"""What rm, prune and pin leave is what the newest client's scanner calls clean, for every shape of
cache that clients leave behind, also while clients read and download beside it."""

import json
import os
import pathlib
import random
import threading
import time

import pytest

from cache_maker import CacheMaker, commit_of
from content import FILES, MODEL
from world import fails_with, hubcache

FOLDER, FORK = "models--org--name", "datasets--fork--name"
MAIN, OTHER, THIRD = commit_of(1), commit_of(2), commit_of(3)
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def maker(cache):
    return CacheMaker(cache)


@pytest.fixture
def offline(serve, cache):
    return lambda: serve(cache, NOWHERE, arguments=("--offline",))


def assert_clean(newest, cache):
    """The scanner warns about hubcached's own folder only. Returns what it has found."""
    found = newest("inventory", cache_dir=str(cache), endpoint=NOWHERE)
    others = [warning for warning in found["warnings"] if ".hubcache" not in warning]
    assert others == []
    return found["repos"]


def rm(server, *arguments, status=0):
    result = hubcache("rm", *arguments, "--json", server=server)
    assert result.returncode == status, result.stderr
    return json.loads(result.stdout) if result.stdout else None


def two_revisions(maker, folder=FOLDER):
    maker.file(folder, MAIN, "a.bin", b"a" * 9000)
    maker.file(folder, MAIN, "sub/b.bin", b"b" * 9000)
    maker.file(folder, OTHER, "a.bin", b"a" * 9000)
    maker.file(folder, OTHER, "c.bin", b"c" * 9000)
    maker.ref(folder, "main", MAIN)
    maker.ref(folder, "refs/pr/1", OTHER)


# --- rm -----------------------------------------------------------------------------------


def test_a_revision_goes_and_the_scanner_finds_the_rest(maker, offline, newest, cache):
    two_revisions(maker)
    server = offline()

    planned = rm(server, f"org/name@{MAIN}", "--dry-run")
    assert assert_clean(newest, cache)[FOLDER]["revisions"].keys() == {MAIN, OTHER}
    done = rm(server, f"org/name@{MAIN}", "--yes")

    assert planned["removed"] == done["removed"] and planned["dry_run"] and not done["dry_run"]
    repos = assert_clean(newest, cache)
    assert repos[FOLDER]["revisions"].keys() == {OTHER}
    assert repos[FOLDER]["files"] == 2


def test_the_scanner_finds_nothing_of_a_removed_repo(maker, offline, newest, cache):
    two_revisions(maker)
    two_revisions(maker, FORK)

    rm(offline(), "dataset/fork/name", "--yes")

    assert assert_clean(newest, cache).keys() == {FOLDER}
    assert not (cache / FORK).exists()


def test_a_ref_and_a_file_and_a_path_of_the_hub_are_named(maker, offline, newest, cache):
    two_revisions(maker)
    server = offline()

    assert rm(server, "hf://models/org/name@main/sub/b.bin", "--yes")["removed"][0]["filename"] \
        == "sub/b.bin"
    assert assert_clean(newest, cache)[FOLDER]["revisions"][MAIN]["files"] == 1
    rm(server, "org/name@main", "--include", "*.bin", "--yes")
    assert assert_clean(newest, cache)[FOLDER]["revisions"][MAIN]["files"] == 0
    rm(server, "model/org/name@refs/pr/1", "--yes")
    assert assert_clean(newest, cache)[FOLDER]["revisions"].keys() == {MAIN}


def test_a_commit_that_two_repos_have_is_refused_with_their_names(maker, offline, newest, cache):
    """Trap 56: the reference client deletes it from either."""
    two_revisions(maker)
    two_revisions(maker, FORK)
    server = offline()

    refused = hubcache("rm", MAIN, "--yes", server=server)

    assert refused.returncode == 2
    assert "model/org/name" in refused.stderr and "dataset/fork/name" in refused.stderr
    rm(server, f"dataset/fork/name@{MAIN}", "--yes")
    repos = assert_clean(newest, cache)
    assert repos[FOLDER]["revisions"].keys() == {MAIN, OTHER}
    assert repos[FORK]["revisions"].keys() == {OTHER}
    rm(server, MAIN, "--yes")
    assert assert_clean(newest, cache)[FOLDER]["revisions"].keys() == {OTHER}


def test_without_consent_nothing_goes(maker, offline, newest, cache):
    two_revisions(maker)

    result = hubcache("rm", "org/name", server=offline())

    assert result.returncode == 1
    assert "org/name" in result.stdout and "--yes" in result.stderr
    for command in (["rm", "org/name"], ["prune"]):
        result = hubcache(*command, "--json", server=offline())
        assert result.returncode == 1 and "--yes" in result.stderr
        assert json.loads(result.stdout)["error"]["exit_code"] == 1
    assert assert_clean(newest, cache)[FOLDER]["revisions"].keys() == {MAIN, OTHER}


def test_what_is_not_in_the_cache_is_not_found(maker, offline):
    two_revisions(maker)
    server = offline()

    for name in ("org/other", "org/name@v9", THIRD):
        result = hubcache("rm", name, "--yes", server=server)
        assert result.returncode == 3 and "write its type" not in result.stderr


@pytest.mark.parametrize("command", [("rm", "--yes"), ("pin",), ("verify",), ("ls",), ("ls", "--files"), ("du",)])
def test_a_dataset_that_is_taken_for_a_model_is_hinted_at(command, maker, offline):
    two_revisions(maker, FORK)
    result = hubcache(*command, "fork/name", "--json", server=offline())
    assert result.returncode == 3
    assert json.loads(result.stdout)["error"]["hint"] == "the cache has dataset/fork/name: write its type"


def test_the_failure_of_one_of_several_is_not_told_to_be_of_the_first(maker, offline):
    two_revisions(maker)
    server = offline()
    selectors = [{"repo_id": "org/name"}, {"repo_id": "org/none"}]
    with fails_with("NOT_CACHED") as failure:
        server.manage("DeleteRevisions", selectors=selectors)
    assert "'org/none'" in failure.message and "repo_id" not in failure.metadata
    with fails_with("NOT_CACHED") as failure:
        server.manage("DeleteRevisions", selectors=selectors[1:])
    assert failure.metadata["repo_id"] == "org/none"


def test_a_pinned_revision_is_kept_and_the_exit_status_says_so(maker, offline, newest, cache):
    two_revisions(maker)
    server = offline()

    pinned = hubcache("pin", "org/name", "--reason", "production", server=server)
    assert pinned.stdout.strip() == MAIN
    kept = rm(server, "org/name", "--yes", status=1)["kept"]
    assert [(row["commit_hash"], row["held_by"], row["detail"]) for row in kept] \
        == [(MAIN, "pin", "production")]
    assert assert_clean(newest, cache)[FOLDER]["revisions"].keys() == {MAIN}
    assert hubcache("unpin", f"org/name@{MAIN}", server=server).returncode == 0
    rm(server, "org/name", "--yes")
    assert assert_clean(newest, cache) == {}


def test_a_leased_snapshot_is_kept(hub, serve, newest, cache):
    server = serve(cache, hub.endpoint)
    answer = hubcache("snapshot", MODEL, "--lease", "1h", "--json", server=server)
    lease = json.loads(answer.stdout)["lease_id"]

    assert rm(server, MODEL, "--yes", status=1)["kept"][0]["held_by"] == "lease"
    assert hubcache("lease", "release", lease, server=server).returncode == 0
    rm(server, MODEL, "--yes")
    assert assert_clean(newest, cache) == {}


# --- the shared store of >= 1.32 ----------------------------------------------------------


def test_a_payload_goes_with_its_last_repo(maker, offline, newest, cache):
    for folder in (FOLDER, FORK):
        maker.shared(folder, MAIN, "model.safetensors", b"p" * 20000)
        maker.file(folder, MAIN, "config.json", b"{}")
        maker.ref(folder, "main", MAIN)
    server = offline()
    payloads = lambda: [path for path in (cache / "blobs").glob("??/*") if len(path.name) == 64]

    assert rm(server, "org/name", "--yes")["freed_bytes"] < 20000
    assert assert_clean(newest, cache)[FORK]["files"] == 2
    assert len(payloads()) == 1
    assert rm(server, "dataset/fork/name", "--yes")["freed_bytes"] >= 20000
    assert assert_clean(newest, cache) == {} and payloads() == []


# --- prune --------------------------------------------------------------------------------


def prune(server, *arguments):
    result = hubcache("prune", "--yes", "--json", *arguments, server=server)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_prune_takes_what_no_ref_names_and_what_dangles(maker, offline, newest, cache):
    two_revisions(maker)
    maker.file(FOLDER, THIRD, "d.bin", b"d" * 9000)
    maker.pointer(FOLDER, MAIN, "dangling.bin", "f" * 40)
    server = offline()

    assert hubcache("prune", "--dry-run", server=server).returncode == 0
    assert (cache / FOLDER / "snapshots" / THIRD).exists()
    assert prune(server)["removed"] == []
    done = prune(server, "--unused-for", "0")

    assert [row["commit_hash"] for row in done["removed"]] == [THIRD]
    repos = assert_clean(newest, cache)
    assert repos[FOLDER]["revisions"].keys() == {MAIN, OTHER}
    assert repos[FOLDER]["revisions"][MAIN]["files"] == 2


def test_prune_takes_the_repos_that_are_named(maker, offline, cache):
    for folder in (FOLDER, FORK, "models--fork--name"):
        maker.file(folder, THIRD, "d.bin", b"d" * 9000)
        maker.pointer(folder, THIRD, "dangling.bin", "f" * 40)
    server = offline()

    done = prune(server, "fork/name", "--unused-for", "0")
    assert [(row["repo_id"], row["repo_type"]) for row in done["removed"]] == [("fork/name", "model")] * 2
    assert [row["kind"] for row in done["findings"]] == ["dangling_pointer"]
    assert {path.name for path in cache.glob("*--*")} == {FOLDER, FORK}
    done = prune(server, "--type", "model", "--unused-for", "0")
    assert {row["repo_id"] for row in done["removed"]} == {"org/name"}
    assert (cache / FORK).exists()
    for arguments in (["org/name", "dataset/fork/name"], ["org/name@main"], ["a/b", "--revision", "c"]):
        assert hubcache("prune", *arguments, "--yes", server=server).returncode == 2
    assert (cache / FORK).exists()


def test_type_and_revision_may_be_options(maker, offline, cache):
    two_revisions(maker)
    two_revisions(maker, FORK)
    server = offline()
    options = ["--type", "dataset", "--revision", "refs/pr/1"]

    assert hubcache("pin", "fork/name", *options, server=server).stdout.split() == [OTHER]
    (kept,) = rm(server, "fork/name", *options, "--yes", status=1)["kept"]
    assert (kept["repo_type"], kept["commit_hash"]) == ("dataset", OTHER)
    assert hubcache("unpin", "fork/name", *options, server=server).stdout.split() == [OTHER]
    result = json.loads(hubcache("verify", "fork/name", "--json", *options, server=server).stdout)
    assert result["result"]["blobs"] == 2
    assert hubcache("lease", "ls", "fork/name", *options, server=server).stdout == ""
    done = rm(server, "fork/name", "model/org/name@main", *options, "--yes")
    assert [(row["repo_type"], row["commit_hash"]) for row in done["removed"]] == [
        ("dataset", OTHER), ("model", MAIN)]


# --- at random, beside other clients ------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_random_caches_stay_clean_after_every_removal(seed, maker, offline, newest, cache):
    rng = random.Random(seed)
    contents = [bytes([65 + i]) * rng.choice((1, 4096, 9000)) for i in range(6)]
    folders = [FOLDER, FORK, "models--fork--name", "spaces--a--b"]
    commits = [commit_of(number) for number in range(5)]
    kinds = [rng.choice((maker.file, maker.shared, maker.plain)) for _ in contents]
    for folder in folders:
        for commit in rng.sample(commits, rng.randint(1, 4)):
            for number in rng.sample(range(len(contents)), rng.randint(1, 5)):
                kinds[number](folder, commit, f"{'sub/' * rng.randint(0, 2)}{number}",
                              contents[number])
            if rng.random() < 0.6:
                maker.ref(folder, rng.choice(("main", "v1", "refs/pr/2")), commit)
    server = offline()
    while repos := assert_clean(newest, cache):
        folder = rng.choice(sorted(repos))
        kind, *name = folder.split("--")
        commit = rng.choice(sorted(repos[folder]["revisions"]))
        spec = f"{kind}/{'/'.join(name)}@{commit}"
        before = {path for path in cache.rglob("snapshots/*/*")}
        rm(server, spec, "--yes")
        assert not (cache / folder / "snapshots" / commit).exists()
        gone = before - {path for path in cache.rglob("snapshots/*/*")}
        assert all(path.is_relative_to(cache / folder / "snapshots" / commit) for path in gone)


def test_the_real_client_downloads_while_the_repo_is_removed(hub, serve, newest, cache):
    """It expects the directories that it has made to be there; the next call mends all."""
    server = serve(cache, hub.endpoint)
    failures, stop = [], threading.Event()

    def remove():
        while not stop.is_set():
            result = hubcache("rm", MODEL, "--yes", server=server)
            if result.returncode not in (0, 1, 3):
                failures.append(result.stderr)

    thread = threading.Thread(target=remove)
    thread.start()
    try:
        for _ in range(4):
            (reply,) = newest.replies(
                ("snapshot_download", {"repo_id": MODEL, "cache_dir": str(cache)}),
                endpoint=hub.endpoint)
            assert reply.get("error") in (None, "FileNotFoundError")
            server.ResolveSnapshot(repo_id=MODEL)
    finally:
        stop.set()
        thread.join()
    assert failures == []
    found = newest("snapshot_download", repo_id=MODEL, cache_dir=str(cache),
                   endpoint=hub.endpoint)
    assert {str(path.relative_to(found)) for path in pathlib.Path(found).rglob("*")
            if path.is_file()} == set(FILES)
    assert_clean(newest, cache)


def test_a_reader_keeps_the_file_that_it_has_open(hub, serve, cache):
    server = serve(cache, hub.endpoint)
    path = server.file(MODEL, "nested/weights.bin").path
    whole = pathlib.Path(path).read_bytes()
    with open(path, "rb") as reader:
        head = reader.read(100)
        rm(server, MODEL, "--yes")
        assert not os.path.exists(path)
        assert head + reader.read() == whole
