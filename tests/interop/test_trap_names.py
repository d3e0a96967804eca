# SPDX-License-Identifier: Apache-2.0
"""Traps about names: the names of blobs, refs, snapshots and pointers, and names from the network
that must be refused. Numbers are those of tests/traps.md."""

import contextlib
import hashlib
import os
import pathlib

import grpc
import pytest

from content import FILES, GIT_FILE, LFS_FILE, MODEL
from world import blobs_of, fails_with, survey

FOLDER = "models--org--model"
GIT_BLOB = hashlib.sha1(b"blob %d\0" % len(GIT_FILE) + GIT_FILE).hexdigest()
LFS_BLOB = hashlib.sha256(LFS_FILE).hexdigest()


def test_01_the_blob_is_named_by_the_linked_etag(hub, serve, cache):
    file = serve(cache, hub.endpoint).file(MODEL, "model.safetensors")

    assert file.etag == LFS_BLOB
    assert list(blobs_of(cache)) == [LFS_BLOB]
    headers, _ = hub.get(f"/{MODEL}/resolve/main/model.safetensors")
    assert headers["ETag"].strip('"') != LFS_BLOB, "the CDN's ETag is another: the trap is set"


def test_02_the_size_is_the_linked_size_and_never_the_redirects(hub, serve, cache):
    file = serve(cache, hub.endpoint).file(MODEL, "model.safetensors")

    assert file.size_bytes == len(LFS_FILE)


@pytest.mark.parametrize("form", ['W/"%s"', '"%s"', "%s", 'WW//"%s"'])
def test_03_every_form_of_an_etag_is_the_same_name(form, hub, serve, cache):
    hub.rule("header", contains="config.json", name="X-Linked-Etag", text=form % GIT_BLOB)

    assert serve(cache, hub.endpoint).file(MODEL, "config.json").etag == GIT_BLOB


@pytest.mark.parametrize("etag", ['"../../evil"', '"a/b"', '".."', '"."', '"a b"', '"' + "a" * 300 + '"'])
def test_04_an_etag_that_is_no_file_name_is_refused(etag, hub, serve, cache):
    hub.rule("header", contains="config.json", name="X-Linked-Etag", text=etag)

    with fails_with("BAD_HUB_REPLY"):
        serve(cache, hub.endpoint).file(MODEL, "config.json")

    assert not any("evil" in path for path in survey(cache.parent))
    assert blobs_of(cache) == {}


def test_05_a_ref_is_forty_bytes_and_replaced_as_a_whole(hub, serve, cache):
    server = serve(cache, hub.endpoint)
    first = server.file(MODEL, "config.json").commit_hash
    ref = cache / FOLDER / "refs" / "main"
    assert ref.read_bytes() == first.encode()
    held = os.open(ref, os.O_RDONLY)

    second = hub.commit(f"models/{MODEL}", {"config.json": b"new"})
    server.ResolveFile(repo_id=MODEL, filename="config.json",
                       options={"max_staleness": {"seconds": 0}})

    assert ref.read_bytes() == second.encode()
    assert os.pread(held, 100, 0) == first.encode(), "a reader keeps what it has opened"
    os.close(held)
    assert [path.name for path in ref.parent.iterdir()] == ["main"]


@pytest.mark.parametrize("tail", ["\n", "\r\n", "  \n"])
def test_06_a_ref_with_trailing_white_space_is_read(tail, hub, serve, cache):
    first = serve(cache, hub.endpoint)
    path = first.file(MODEL, "config.json").path
    first.stop()
    ref = cache / FOLDER / "refs" / "main"
    ref.write_text(ref.read_text() + tail)

    offline = serve(cache, hub.endpoint, arguments=["--offline"])

    assert offline.file(MODEL, "config.json").path == path


def test_07_a_pull_request_is_a_ref_below_refs(hub, serve, cache):
    file = serve(cache, hub.endpoint).file(MODEL, "config.json", "refs/pr/1")

    assert (cache / FOLDER / "refs" / "refs" / "pr" / "1").read_text() == file.commit_hash


def test_08_a_pointer_has_as_many_parents_as_its_depth(hub, serve, cache):
    file = serve(cache, hub.endpoint).file(MODEL, "nested/deep/down/file.txt")

    assert os.readlink(file.path).startswith("../../../../../blobs/")
    assert pathlib.Path(file.path).read_bytes() == FILES["nested/deep/down/file.txt"]


def test_09_only_forty_lower_case_digits_need_no_network(hub, serve, cache):
    server = serve(cache, hub.endpoint)
    commit = server.file(MODEL, "config.json").commit_hash
    hub.clear_log()

    assert server.file(MODEL, "config.json", commit).commit_hash == commit
    assert hub.log() == []
    for other in (commit.upper(), commit[:8]):
        hub.clear_log()
        with contextlib.suppress(grpc.RpcError):
            server.file(MODEL, "config.json", other)
        assert f"/resolve/{other}/" in hub.log()[0].target, "a name like any other: asked for"


def test_10_a_missing_entry_records_the_ref_of_a_repo_never_seen(hub, serve, cache):

    with fails_with("ENTRY_NOT_FOUND") as failure:
        serve(cache, hub.endpoint).file(MODEL, "no-such.txt")

    commit = hub.commit_of(f"models/{MODEL}")
    assert (cache / FOLDER / "refs" / "main").read_text() == commit
    assert (cache / FOLDER / ".no_exist" / commit / "no-such.txt").read_bytes() == b""
    assert failure.metadata["filename"] == "no-such.txt"


def test_10_a_404_that_names_no_commit_records_nothing(hub, serve, cache, oracle, tmp_path):
    hub.control("commit-on-404", b"", on=0)
    other = tmp_path / "theirs"

    with fails_with("ENTRY_NOT_FOUND"):
        serve(cache, hub.endpoint).file(MODEL, "no-such.txt")
    oracle.replies(("hf_hub_download", {"repo_id": MODEL, "filename": "no-such.txt",
                                        "cache_dir": str(other)}), endpoint=hub.endpoint)

    assert list(cache.glob(FOLDER + "/*")) == list(other.glob("*")) == []


def test_11_no_exist_wins_a_lookup_and_loses_a_download(hub, serve, cache, oracle):
    server = serve(cache, hub.endpoint)
    file = server.file(MODEL, "config.json")
    marker = cache / FOLDER / ".no_exist" / file.commit_hash / "config.json"
    marker.parent.mkdir(parents=True)
    marker.touch()

    again = server.ResolveFile(repo_id=MODEL, filename="config.json",
                               options={"force_download": True}).file

    assert again.path == file.path
    assert oracle("look_up", repo_id=MODEL, filename="config.json", cache_dir=str(cache),
                  endpoint=hub.endpoint) == "KNOWN_MISSING"
    assert oracle("hf_hub_download", repo_id=MODEL, filename="config.json",
                  cache_dir=str(cache), endpoint=hub.endpoint) == file.path


def test_30_a_renamed_repo_is_cached_under_the_name_asked_for(hub, serve, cache):
    hub.control("rename", b"", old="models/org/former", new=f"models/{MODEL}")

    file = serve(cache, hub.endpoint).file("org/former", "model.safetensors")

    assert file.cache_path.startswith("models--org--former/snapshots/")
    assert pathlib.Path(file.path).read_bytes() == LFS_FILE


def test_52_returned_paths_have_the_cache_roots_links_resolved(hub, serve, cache, tmp_path,
                                                               newest):
    cache.mkdir()
    link = tmp_path / "link"
    link.symlink_to(cache)

    file = serve(link, hub.endpoint).file(MODEL, "config.json")

    assert file.path.startswith(str(cache) + "/")
    assert newest("hf_hub_download", repo_id=MODEL, filename="config.json",
                  cache_dir=str(link), endpoint=hub.endpoint) == file.path


@pytest.mark.parametrize("commit", ["notahash", "../../evil", "A" * 40, "a" * 39])
def test_58_an_invalid_commit_is_refused(commit, hub, serve, cache):
    hub.rule("header", contains="/resolve", name="X-Repo-Commit", text=commit)

    with fails_with("BAD_HUB_REPLY"):
        serve(cache, hub.endpoint).file(MODEL, "config.json")

    assert list(cache.glob("*/snapshots/*")) == []
    assert not any("evil" in path for path in survey(cache.parent))
