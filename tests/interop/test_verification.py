# SPDX-License-Identifier: Apache-2.0
"""`hubcache verify` beside the real client: `hf cache verify` finds the same files wrong, its
scanner calls no repo corrupt afterwards, and every client that reads the repo gets right bytes
again."""

import json
import os
import random

import pytest

from cache_maker import CacheMaker, commit_of
from content import MODEL
from world import hubcache

FOLDER = "models--" + MODEL.replace("/", "--")
LFS = "nested/weights.bin"


def verify(server, *arguments):
    """(exit status, the JSON)."""
    done = hubcache("verify", *arguments, "--json", server=server)
    return done.returncode, json.loads(done.stdout)


def kinds(report):
    return sorted(finding["kind"] for finding in report["findings"])


def snapshot_of(oracle, hub, cache):
    return oracle("snapshot_download", endpoint=hub.endpoint, repo_id=MODEL, cache_dir=str(cache))


def flip(path, at=0):
    """Changes one byte of what the path leads to, in place."""
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


def assert_clean(newest, hub, cache):
    found = newest("scan", endpoint=hub.endpoint, cache_dir=str(cache))
    assert [text for text in found["warnings"] if ".hubcache" not in text] == []


def contents(directory):
    return {os.path.relpath(os.path.join(folder, name), directory):
            open(os.path.join(folder, name), "rb").read()
            for folder, _, names in os.walk(directory) for name in names}


def blobs_of(directory):
    """{path of a blob: the files that lead to it}."""
    blobs = {}
    for name in contents(directory):
        blobs.setdefault(os.path.realpath(f"{directory}/{name}"), set()).add(name)
    return blobs


def test_a_right_cache_of_each_client_is_right(hub, serve, cache, oracle):
    snapshot_of(oracle, hub, cache)
    server = serve(cache, hub.endpoint)
    status, report = verify(server)

    assert (status, report["findings"]) == (0, [])
    assert report["result"]["blobs"] > 0


def test_the_real_client_gets_right_bytes_after_a_flipped_one(hub, serve, cache, oracle, newest):
    directory = snapshot_of(oracle, hub, cache)
    before = contents(directory)
    server = serve(cache, hub.endpoint)
    flip(f"{directory}/{LFS}")
    status, report = verify(server)

    assert status == 1
    (finding,) = report["findings"]
    assert finding["kind"] == "corrupt_blob"
    assert finding["pointers"] == [f"{FOLDER}/snapshots/{os.path.basename(directory)}/{LFS}"]
    assert finding["action"].startswith("moved to .hubcache/quarantine/")
    assert_clean(newest, hub, cache)
    assert contents(snapshot_of(oracle, hub, cache)) == before
    assert verify(server)[0] == 0


def test_a_repair_leaves_the_snapshot_as_it_was(hub, serve, cache, newest):
    directory = snapshot_of(newest, hub, cache)
    before = contents(directory)
    server = serve(cache, hub.endpoint)
    blobs = blobs_of(directory)
    for path in blobs:
        if os.path.getsize(path):
            flip(path, os.path.getsize(path) - 1)
    status, report = verify(server, MODEL, "--repair")

    assert status == 0
    assert report["result"]["corrupt"] == len(blobs) - 1 # one is empty
    assert report["result"]["repaired"] == len(before) - 1
    assert contents(directory) == before
    assert_clean(newest, hub, cache)


def test_a_missing_blob_dangles_and_is_repaired(hub, serve, cache, newest):
    directory = snapshot_of(newest, hub, cache)
    before = contents(directory)
    server = serve(cache, hub.endpoint)
    os.unlink(os.path.realpath(f"{directory}/{LFS}"))
    assert kinds(verify(server)[1]) == ["dangling_pointer"]
    status, report = verify(server, "--repair")

    assert (status, report["result"]["repaired"]) == (0, 1)
    assert contents(directory) == before
    assert_clean(newest, hub, cache)


def test_offline_the_file_is_told_to_be_quarantined(hub, serve, cache, newest):
    directory = snapshot_of(newest, hub, cache)
    server = serve(cache, hub.endpoint, arguments=["--offline"])
    flip(f"{directory}/{LFS}")
    status, report = verify(server, "--repair")
    done = hubcache("file", MODEL, LFS, server=server)

    assert (status, report["result"]["not_repaired"]) == (1, 1)
    assert done.returncode == 3
    assert "corrupt" in done.stderr and ".hubcache/quarantine" in done.stderr
    assert_clean(newest, hub, cache)


def test_a_dry_run_changes_nothing(hub, serve, cache, newest):
    directory = snapshot_of(newest, hub, cache)
    server = serve(cache, hub.endpoint)
    flip(f"{directory}/{LFS}")
    before = contents(directory)
    status, report = verify(server, "--dry-run", "--repair")

    assert (status, kinds(report)) == (1, ["corrupt_blob"])
    assert contents(directory) == before


def hf_verify(newest, hub, cache, revision):
    """The files that the real client finds wrong."""
    result = newest("verify", endpoint=hub.endpoint, repo_id=MODEL, cache_dir=str(cache),
                    revision=revision)
    return sorted(result["mismatches"])


@pytest.mark.parametrize("seed", range(6))
def test_the_real_client_finds_the_same_files_wrong(hub, serve, cache, newest, seed):
    chance = random.Random(seed)
    directory = snapshot_of(newest, hub, cache)
    server = serve(cache, hub.endpoint)
    wrong = set()
    for path, names in sorted(blobs_of(directory).items()):
        action = chance.choice(["keep", "flip", "cut", "grow"])
        size = os.path.getsize(path)
        if action == "flip" and size:
            flip(path, chance.randrange(size))
        elif action == "cut" and size:
            os.truncate(path, chance.randrange(size))
        elif action == "grow":
            os.truncate(path, size + 1)
        else:
            continue
        wrong |= names
    theirs = hf_verify(newest, hub, cache, os.path.basename(directory))
    _, report = verify(server, MODEL, "--dry-run")
    ours = sorted(pointer.split("/", 3)[3] for finding in report["findings"]
                  for pointer in finding["pointers"])

    assert theirs == sorted(wrong) == ours


def test_a_payload_that_repos_share_is_right_or_goes_from_all(serve, cache, newest, hub):
    maker = CacheMaker(cache)
    for folder, number in ((FOLDER, 1), ("models--org--other", 2)):
        maker.shared(folder, commit_of(number), "a/b.bin", b"shared")
        maker.file(folder, commit_of(number), "own.txt", b"own")
        maker.ref(folder, "main", commit_of(number))
    server = serve(cache, hub.endpoint)
    assert verify(server)[1]["findings"] == []
    digest = maker.payload(b"shared")
    payload = cache / "blobs" / digest[:2] / digest
    payload.chmod(0o644)
    flip(payload)
    status, report = verify(server)

    assert status == 1
    (finding,) = report["findings"]
    assert len(finding["pointers"]) == 2
    assert not payload.exists()
    assert_clean(newest, hub, cache)


def test_selected_repos_alone_are_verified(hub, serve, cache, newest):
    directory = snapshot_of(newest, hub, cache)
    server = serve(cache, hub.endpoint)
    flip(f"{directory}/{LFS}")

    assert verify(server, f"hf://{MODEL}@main/config.json")[1]["result"]["blobs"] == 1
    assert hubcache("verify", "org/absent", server=server).returncode == 3
    assert hubcache("verify", f"{MODEL}@v9", server=server).returncode == 3
    done = hubcache("verify", f"{MODEL}@main", "--rate", "100MB", server=server)
    assert done.returncode == 1
    assert done.stdout.startswith(f"corrupt_blob: {FOLDER}/blobs/")
    assert "1 corrupt" in done.stderr
