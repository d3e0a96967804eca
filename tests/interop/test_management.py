# SPDX-License-Identifier: Apache-2.0
"""The service Cache and its commands beside the newest client's own cache management: what they
list is what its scanner finds, for every shape of cache that clients leave behind."""

import json
import os
import random
import shutil
import subprocess
import sys
import time

import pytest

import world

from cache_maker import CacheMaker, commit_of
from world import fails_with, hubcache

FOLDER = "models--org--name"
MAIN, OTHER = commit_of(1), commit_of(2)


@pytest.fixture
def maker(cache):
    return CacheMaker(cache)


@pytest.fixture
def offline(serve, cache):
    """Starts a hubcached on the cache that the test has made."""
    return lambda *arguments: serve(cache, "http://127.0.0.1:9", arguments=("--offline", *arguments))


def list_all(server, method, items, **fields):
    """The items of all pages."""
    found, token = [], ""
    while True:
        page = server.manage(method, page_token=token, **fields)
        found += getattr(page, items)
        token = page.next_page_token
        if not token:
            return found


def list_repos(server, **fields):
    return {repo.cache_path: repo
            for repo in list_all(server, "ListRepos", "repos", with_revisions=True, **fields)}


def seconds(timestamp):
    return timestamp.seconds + timestamp.nanos / 1e9


def assert_same_revision(ours, theirs):
    assert ours.size_bytes == theirs["size"]
    assert ours.file_count == theirs["files"]
    assert list(ours.refs) == theirs["refs"]
    if theirs["files"]:
        assert abs(seconds(ours.last_modified) - theirs["modified"]) < 0.002


def assert_same_repo(ours, theirs):
    assert (ours.repo_id, ours.repo_type) == (theirs["id"], ["model", "dataset", "space", "kernel"]
                                              .index(theirs["type"]) + 1)
    assert ours.size_bytes == theirs["size"]
    assert ours.file_count == theirs["files"]
    if theirs["files"]:
        assert abs(seconds(ours.last_used) - theirs["accessed"]) < 0.002
        assert abs(seconds(ours.last_modified) - theirs["modified"]) < 0.002
    assert [revision.commit_hash for revision in ours.revisions] == sorted(theirs["revisions"])
    for revision in ours.revisions:
        assert_same_revision(revision, theirs["revisions"][revision.commit_hash])


def assert_same_inventory(server, newest, cache):
    """Every repo of the scanner is listed with its numbers, and every other one with a warning."""
    theirs = newest("inventory", cache_dir=str(cache), endpoint="http://127.0.0.1:9")
    ours = list_repos(server)
    for folder, repo in theirs["repos"].items():
        assert ours[folder].warning == "", ours[folder].warning
        assert_same_repo(ours[folder], repo)
    for folder in ours.keys() - theirs["repos"].keys():
        assert ours[folder].warning, folder
    return ours, theirs


def make_usual(maker):
    """Two revisions that share a blob, refs below directories, a name twice, an empty file."""
    for commit, text in ((MAIN, b"one"), (OTHER, b"two")):
        maker.file(FOLDER, commit, "config.json", text, used=1_700_000_000)
        maker.file(FOLDER, commit, "deep/er/weights.bin", b"w" * 5000)
    maker.file(FOLDER, MAIN, "again.json", b"one")
    maker.file(FOLDER, MAIN, "empty", b"")
    maker.ref(FOLDER, "main", MAIN)
    maker.ref(FOLDER, "refs/pr/1", OTHER)
    maker.ref(FOLDER, "v1.0", OTHER)


def make_every_type(maker):
    for folder in ("models--gpt2", "datasets--org--data", "spaces--org--app", "kernels--org--kern"):
        maker.file(folder, MAIN, "file.txt", folder.encode())
        maker.ref(folder, "main", MAIN)


def make_plain_files(maker):
    maker.plain(FOLDER, MAIN, "config.json", b"plain")
    maker.plain(FOLDER, MAIN, "sub/config.json", b"plain")
    maker.file(FOLDER, MAIN, "linked", b"linked")


def make_shared_store(maker):
    for folder in ("models--a--a", "models--b--b"):
        maker.shared(folder, MAIN, "model.safetensors", b"s" * 7000)
        maker.file(folder, MAIN, "config.json", folder.encode())


def make_leftovers(maker):
    make_usual(maker)
    maker.write(f"{FOLDER}/blobs/{'a' * 40}", b"no pointer leads here")
    maker.write(f"{FOLDER}/blobs/{'b' * 40}.0123abcd.incomplete", b"partial")
    maker.write(f"{FOLDER}/.no_exist/{MAIN}/none.json")
    maker.write(f"{FOLDER}/snapshots/.DS_Store")
    maker.write(f"{FOLDER}/refs/.DS_Store")
    maker.write(f".locks/{FOLDER}/{'a' * 40}.lock")
    maker.write("CACHEDIR.TAG")
    maker.write("version.txt", b"1")


def make_empty_revision(maker):
    make_usual(maker)
    maker.snapshot(FOLDER, commit_of(3))


def make_hard_links(maker):
    make_usual(maker)
    maker.file("models--b--b", MAIN, "same", b"other")
    source = maker.root / FOLDER / "blobs"
    for blob in list(source.iterdir()):
        (maker.root / "models--b--b" / "blobs" / blob.name).hardlink_to(blob)
        maker.pointer("models--b--b", MAIN, f"of-{blob.name}", blob.name)


SHAPES = [make_usual, make_every_type, make_plain_files, make_shared_store, make_leftovers,
          make_empty_revision, make_hard_links]


@pytest.mark.parametrize("make", SHAPES, ids=lambda make: make.__name__[5:])
def test_numbers_are_the_scanners(make, maker, offline, newest, cache):
    make(maker)
    _, theirs = assert_same_inventory(offline(), newest, cache)
    assert theirs["repos"]


def corrupt_no_snapshots(maker):
    maker.ref(FOLDER, "main", MAIN)


def corrupt_dangling_ref(maker):
    maker.file(FOLDER, MAIN, "file", b"x")
    maker.ref(FOLDER, "main", OTHER)


def corrupt_newline(maker):
    maker.file(FOLDER, MAIN, "file", b"x")
    maker.ref(FOLDER, "main", MAIN + "\n")


def corrupt_empty_ref(maker):
    maker.file(FOLDER, MAIN, "file", b"x")
    maker.ref(FOLDER, "main", "")


def corrupt_refs_file(maker):
    maker.file(FOLDER, MAIN, "file", b"x")
    maker.write(f"{FOLDER}/refs", b"")


def corrupt_file_in_snapshots(maker):
    maker.file(FOLDER, MAIN, "file", b"x")
    maker.write(f"{FOLDER}/snapshots/stray", b"")


def corrupt_dangling_pointer(maker):
    maker.file(FOLDER, MAIN, "file", b"x")
    maker.pointer(FOLDER, MAIN, "gone", "c" * 40)


def corrupt_dangling_payload(maker):
    maker.shared(FOLDER, MAIN, "file", b"x" * 100)
    next(path for path in maker.root.glob("blobs/??/*") if len(path.name) == 64).unlink()


CORRUPT = [corrupt_no_snapshots, corrupt_dangling_ref, corrupt_newline, corrupt_empty_ref,
           corrupt_refs_file, corrupt_file_in_snapshots, corrupt_dangling_pointer,
           corrupt_dangling_payload]


@pytest.mark.parametrize("make", CORRUPT, ids=lambda make: make.__name__[8:])
def test_a_warning_begins_with_the_words_of_the_scanners(make, maker, offline, newest, cache):
    make(maker)
    ours, theirs = assert_same_inventory(offline(), newest, cache)
    (words,) = [text for text in theirs["warnings"] if "snapshots" in text or FOLDER in text]
    assert ours[FOLDER].warning.split(":")[0] == words.split(":")[0]
    assert FOLDER in ours[FOLDER].warning


@pytest.mark.parametrize("seed", range(10))
def test_numbers_are_the_scanners_for_random_caches(seed, maker, offline, newest, cache):
    chance = random.Random(seed)
    folders = [f"{kind}--org{i % 3}--name{i}" for i, kind in
               enumerate(chance.choices(["models", "datasets", "spaces", "kernels"], k=8))]
    for number in range(chance.randrange(1, 120)):
        folder, commit = chance.choice(folders), commit_of(chance.randrange(4))
        content = bytes([number % 7]) * chance.choice([0, 1, 511, 4096, 70000])
        add = chance.choice([maker.file, maker.file, maker.file, maker.shared, maker.plain])
        name = "/".join(chance.choices("abcd", k=chance.randrange(1, 4))) + f"/file{number}"
        if add == maker.shared and (maker.root / folder / "blobs").exists():
            add = maker.file  # a blob is either a file or a symlink
        add(folder, commit, name, content)
        if chance.random() < 0.2:
            maker.ref(folder, chance.choice(["main", "v1", "refs/pr/3", "feature/x"]), commit)
    server = offline()
    assert_same_inventory(server, newest, cache)
    size = chance.randrange(1, 5)
    assert list_repos(server, page_size=size) == list_repos(server)


@pytest.mark.skipif(not (world.BUILD / "tests/support/libslow_volume.so").exists(),
                    reason="a sanitizer has no slow volume")
def test_numbers_are_the_scanners_on_a_slow_volume(maker, serve, newest, cache):
    """There, repos and their blobs are looked at side by side."""
    for number in range(70):
        folder = f"models--org--name{number:02}"
        for file in range(number % 40):
            maker.file(folder, commit_of(file % 2), f"file{file}", b"%d" % (file * number))
        maker.snapshot(folder, MAIN)
    server = serve(cache, "http://127.0.0.1:9", arguments=("--offline",), environment={
        "LD_PRELOAD": str(world.BUILD / "tests/support/libslow_volume.so"),
        "SLOW_VOLUME": str(cache), "SLOW_VOLUME_US": "300"})
    assert_same_inventory(server, newest, cache)


def test_completeness_goes_by_the_cached_listing(maker, offline):
    files = {"config.json": b"{}", "sub/weights": b"w" * 100}
    for commit, names in ((MAIN, files), (OTHER, ["config.json"]), (commit_of(3), files)):
        for name in names:
            maker.file(FOLDER, commit, name, files[name])
    maker.tree(FOLDER, MAIN, files)
    maker.tree(FOLDER, OTHER, files)
    result = hubcache("ls", "--json", server=offline())
    (repo,) = json.loads(result.stdout)["repos"]
    found = {revision["commit_hash"]: revision["completeness"] for revision in repo["revisions"]}
    assert found == {MAIN: "COMPLETENESS_COMPLETE", OTHER: "COMPLETENESS_PARTIAL",
                     commit_of(3): "COMPLETENESS_UNKNOWN"}


def test_json_of_ls_has_the_fixed_fields(maker, offline):
    make_usual(maker)
    result = hubcache("ls", "--json", server=offline())
    (repo,) = json.loads(result.stdout)["repos"]
    last_used = repo.pop("last_used")
    assert last_used.endswith("Z") and "T" in last_used
    revisions = repo.pop("revisions")
    assert repo == {"repo_id": "org/name", "repo_type": "model", "size_bytes": 5006}
    assert revisions == sorted([
        {"commit_hash": MAIN, "refs": ["main"], "completeness": "COMPLETENESS_UNKNOWN", "size_bytes": 5003,
         "file_count": 4, "leases": 0, "pinned": False},
        {"commit_hash": OTHER, "refs": ["refs/pr/1", "v1.0"], "completeness": "COMPLETENESS_UNKNOWN",
         "size_bytes": 5003, "file_count": 2, "leases": 0, "pinned": False},
    ], key=lambda revision: revision["commit_hash"])


def test_freeable_is_what_no_other_revision_or_repo_has(maker, offline):
    maker.file(FOLDER, MAIN, "own", b"o" * 5000)
    for commit in (MAIN, OTHER):
        maker.file(FOLDER, commit, "both", b"b" * 9000)
    maker.shared("models--a--a", MAIN, "file", b"s" * 20000)
    maker.shared("models--b--b", MAIN, "file", b"s" * 20000)
    maker.shared("models--b--b", MAIN, "alone", b"t" * 4097)
    repos = list_repos(offline())
    freeable = {(folder, revision.commit_hash): revision.freeable_bytes
                for folder, repo in repos.items() for revision in repo.revisions}
    assert freeable == {(FOLDER, MAIN): 8192, (FOLDER, OTHER): 0,
                        ("models--a--a", MAIN): 0, ("models--b--b", MAIN): 8192}


def test_revisions_and_files_of_a_repo_are_paged(maker, offline):
    names = [f"{folder}{number}.txt" for folder in ("", "sub/", "z/y/") for number in range(7)]
    for number in range(9):
        for name in names:
            maker.file(FOLDER, commit_of(number), name, b"%d" % (number % 2))
    maker.pointer(FOLDER, MAIN, "gone", "d" * 40)
    maker.plain(FOLDER, MAIN, "plain", b"12345")
    maker.ref(FOLDER, "main", MAIN)
    server = offline()
    whole = list(list_repos(server)[FOLDER].revisions)
    for size in (1, 2, 8, 9, 10):
        assert list_all(server, "ListRevisions", "revisions", repo_id="org/name", page_size=size) == whole
    expected = sorted([*names, "gone", "plain"])
    for size in (1, 5, 22, 23, 24, 1000):
        files = list_all(server, "ListFiles", "files", repo_id="org/name", page_size=size)
        assert [file.filename for file in files] == expected
    found = {file.filename: file for file in files}
    assert (found["gone"].dangling, found["gone"].size_bytes, found["gone"].etag) == (True, 0, "d" * 40)
    assert (found["plain"].etag, found["plain"].size_bytes) == ("", 5)
    assert found["0.txt"].size_bytes == 1 and found["0.txt"].last_used.seconds > 0
    assert found["0.txt"].cache_path == f"{FOLDER}/snapshots/{MAIN}/0.txt"


@pytest.mark.parametrize("method, fields", [
    ("ListRevisions", {"repo_id": "org/none"}),
    ("ListFiles", {"repo_id": "org/none"}),
    ("ListFiles", {"repo_id": "org/name", "revision": "v9"}),
    ("ListFiles", {"repo_id": "org/name", "revision": "e" * 40}),
])
def test_what_is_not_there_is_not_cached(method, fields, maker, offline):
    make_usual(maker)
    with fails_with("NOT_CACHED") as failure:
        offline().manage(method, **fields)
    assert failure.metadata["repo_id"] == fields["repo_id"]


def test_a_list_goes_on_while_repos_come_and_go(maker, offline):
    """Repos that stay are on one page each, whatever happens between two pages."""
    for number in range(20):
        maker.file(f"models--org--stays{number:02}", MAIN, "file", b"x")
    server, seen, token = offline(), [], ""
    for number in range(1000):
        page = server.manage("ListRepos", page_token=token, page_size=3)
        seen += [repo.cache_path for repo in page.repos]
        token = page.next_page_token
        maker.file(f"models--org--new{number:02}", MAIN, "file", b"x")
        if seen[0].startswith("models--org--new"):
            shutil.rmtree(maker.root / seen[0], ignore_errors=True)
        if not token:
            break
    stays = [folder for folder in seen if "stays" in folder]
    assert stays == [f"models--org--stays{number:02}" for number in range(20)]


def test_usage_counts_shared_room_once(maker, offline):
    maker.shared("models--a--a", MAIN, "file", b"s" * 40960)
    maker.shared("models--b--b", MAIN, "file", b"s" * 40960)
    maker.file("datasets--c--c", MAIN, "file", b"c" * 8192)
    maker.write(f"datasets--c--c/blobs/{'b' * 40}.0123abcd.incomplete", b"p" * 4096)
    server = offline("--cache-limit", "1000000000", "--free-floor", "1000000")
    usage = server.manage("GetUsage")
    assert usage.size_bytes == 40960 + 8192 + 4096
    assert [(row.name, row.size_bytes, row.file_count) for row in usage.repos] == [
        ("model/a/a", 40960, 1), ("model/b/b", 40960, 1), ("dataset/c/c", 8192, 1)]
    assert usage.limit_bytes == 1_000_000_000 and usage.free_floor_bytes == 1_000_000
    assert usage.free_bytes > 0 and usage.scanned.seconds > 1_700_000_000
    assert [row.name for row in server.manage("GetUsage", repo_ids=["b/*"]).repos] == ["model/b/b"]


def lines_of(*arguments, server):
    result = hubcache(*arguments, server=server)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def make_assorted(maker, now):
    """Three repos: small and new, large and old, and one of another type between them."""
    day = 24 * 3600
    maker.file("models--a--small", MAIN, "file", b"s" * 10, used=now - 60)
    maker.file("models--b--large", MAIN, "file", b"l" * 9_000_000, used=now - 30 * day)
    maker.file("datasets--c--middle", OTHER, "file", b"m" * 5000, used=now - 8 * day)
    maker.ref("models--a--small", "main", MAIN)
    maker.ref("models--b--large", "v1", MAIN)
    maker.tree("datasets--c--middle", OTHER, {"file": b"m" * 5000})
    maker.write(f".hubcache/pins/models--b--large/{MAIN}", b"{}")


SMALL, LARGE, MIDDLE = "model/a/small", "model/b/large", "dataset/c/middle"


@pytest.mark.parametrize("arguments, expected", [
    ([], [MIDDLE, SMALL, LARGE]),
    (["-f", "size>1MB"], [LARGE]),
    (["-f", "size<=5kB"], [MIDDLE, SMALL]),
    (["-f", "size != 10"], [MIDDLE, LARGE]),
    (["-f", "accessed>7d"], [MIDDLE, LARGE]),
    (["-f", "accessed>7d", "-f", "type=model"], [LARGE]),
    (["-f", "modified<1h"], [SMALL]),
    (["-f", "type!=model"], [MIDDLE]),
    (["-f", "refs=MAIN"], [SMALL]),
    (["-f", "completeness=complete"], [MIDDLE]),
    (["-f", "pinned=true"], [LARGE]),
    (["-f", "leases>0"], []),
    (["--sort", "size"], [LARGE, MIDDLE, SMALL]),
    (["--sort", "size:asc"], [SMALL, MIDDLE, LARGE]),
    (["--sort", "accessed"], [SMALL, MIDDLE, LARGE]),
    (["--sort", "name:desc"], [LARGE, SMALL, MIDDLE]),
    (["--sort", "modified:asc", "--limit", "1"], [LARGE]),
    (["--limit", "0"], []),
    ([LARGE, "datasets/c/middle"], [MIDDLE, LARGE]),
    (["a/small@main"], [SMALL]),
])
def test_ls_filters_sorts_and_limits(arguments, expected, maker, offline):
    make_assorted(maker, time.time())
    server = offline()
    assert lines_of("ls", "-q", *arguments, server=server) == expected
    table = lines_of("ls", *arguments, server=server)
    if not expected:
        assert table == ["Found 0 repo(s) for a total of 0 revision(s) and 0 B."]
    else:
        assert table[0].split() == ["ID", "SIZE", "LAST_ACCESSED", "LAST_MODIFIED", "REFS"]
    assert [line.split()[0] for line in table[2:-2]] == expected
    found = json.loads(hubcache("ls", "--json", *arguments, server=server).stdout)["repos"]
    assert [f"{repo['repo_type']}/{repo['repo_id']}" for repo in found] == expected


def test_ls_agrees_with_hf_cache_ls(maker, offline, cache):
    """The same filters select the same repos."""
    make_assorted(maker, time.time())
    server = offline()
    for arguments in (["-f", "size>1MB"], ["-f", "accessed>7d"], ["--sort", "size"], ["-f", "refs=v1"],
                      ["--sort", "accessed:asc", "--limit", "2"], ["-f", "type=dataset"]):
        theirs = subprocess.run(
            [f"{os.path.dirname(sys.executable)}/hf", "cache", "ls", "--cache-dir", str(cache), "-q",
             *arguments], capture_output=True, text=True, timeout=60, check=True)
        assert lines_of("ls", "-q", *arguments, server=server) == theirs.stdout.split(), arguments


def test_ls_lists_revisions_and_files(maker, offline):
    make_usual(maker)
    server = offline()
    commits = lines_of("ls", "org/name", "--revisions", "-q", server=server)
    assert commits == sorted([MAIN, OTHER])
    assert lines_of("ls", "org/name@v1.0", "--revisions", "-q", server=server) == [OTHER]
    assert lines_of("ls", "org/name", "--files", "-q", server=server) == [
        "again.json", "config.json", "deep/er/weights.bin", "empty"]
    found = json.loads(hubcache("ls", "org/name@v1.0", "--files", "--json", server=server).stdout)
    assert found["commit_hash"] == OTHER
    assert [(file["filename"], file["size_bytes"]) for file in found["files"]] == [
        ("config.json", 3), ("deep/er/weights.bin", 5000)]
    (row,) = [line for line in lines_of("ls", "--revisions", server=server) if MAIN in line]
    assert "unknown" in row and row.endswith(" main")
    (row,) = [line for line in lines_of("ls", "org/name", server=server) if "org/name" in line]
    assert row.endswith(" main refs/pr/1 v1.0")


@pytest.mark.parametrize("arguments, code, text", [
    (["ls", "-f", "color=red"], 2, "its key is none of"),
    (["ls", "-f", "size"], 2, "after its key"),
    (["ls", "-f", "size>"], 2, "its value is missing"),
    (["ls", "-f", "size>big"], 2, "no size such as"),
    (["ls", "-f", "type>model"], 2, "= or != only"),
    (["ls", "--sort", "color"], 2, "is no order"),
    (["ls", "--limit", "-1"], 2, "no number of entries"),
    (["ls", "--files"], 2, "--files needs one repo"),
    (["ls", "a/b/c"], 2, "names no repo"),
    (["cache", "ls"], 2, "is `hubcache ls`"),
    (["ls", "org/none"], 3, "the cache has no model 'org/none'"),
    (["ls", "a/small@v7"], 3, "at revision v7"),
    (["du", "org/none"], 3, "has no such repo"),
    (["du", "org/none", "a/small", "b/none"], 3, "lacks 2 of these 3 repos"),
    (["ls", "--cache-dir", "/tmp"], 2, "the cache is the server's"),
    (["ls", "--format", "json"], 2, "--json"),
])
def test_what_cannot_be_listed_is_said(arguments, code, text, maker, offline):
    make_assorted(maker, 1_700_000_000)
    result = hubcache(*arguments, server=offline())
    assert result.returncode == code and text in result.stderr and result.stdout == ""


def test_ls_notes_what_the_scanner_calls_corrupt(maker, offline):
    corrupt_dangling_ref(maker)
    server = offline()
    assert "1 repo(s)" in hubcache("ls", server=server).stderr
    assert "refer to missing commit" in hubcache("ls", "--show-warnings", server=server).stderr


def test_du_tells_the_total_with_shared_room_once(maker, offline):
    maker.shared("models--a--a", MAIN, "file", b"s" * 40960)
    maker.shared("models--b--b", MAIN, "file", b"s" * 40960)
    server = offline("--cache-limit", "1000000000")
    table = lines_of("du", server=server)
    assert [line.split() for line in table[2:4]] == [["model/a/a", "41.0", "kB", "1"],
                                                     ["model/b/b", "41.0", "kB", "1"]]
    assert "total, shared blobs once: 41.0 kB" in table and "limit: 1.0 GB" in table
    assert [line.split()[0] for line in lines_of("du", "b/b", server=server)[2:3]] == ["model/b/b"]
    found = json.loads(hubcache("du", "--json", server=server).stdout)
    assert found["size_bytes"] == 40960 and found["limit_bytes"] == 1_000_000_000
