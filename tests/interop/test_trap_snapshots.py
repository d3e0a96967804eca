# SPDX-License-Identifier: Apache-2.0
"""Traps about snapshots: listings, patterns, and snapshots that only look complete. Numbers are
those of tests/traps.md."""

import pathlib

import pytest

from content import FILES, MODEL
from world import Hub, fails_with, survey

FOLDER = "models--org--model"


def names(answer):
    return sorted(file.filename for file in answer.files)


def test_40_a_snapshot_of_no_file_says_so(hub, serve, cache):
    answer = serve(cache, hub.endpoint).ResolveSnapshot(repo_id=MODEL,
                                                        allow_patterns=["*.gguf"])

    assert answer.file_count == 0 and answer.size_bytes == 0
    assert answer.completeness == 1
    assert answer.path.endswith(f"/snapshots/{answer.commit_hash}")
    assert pathlib.Path(answer.path).is_dir()


def test_41_a_partial_snapshot_is_not_answered_as_if_it_were_whole(hub, serve, cache):
    filler = serve(cache, hub.endpoint)
    filler.ResolveSnapshot(repo_id=MODEL, allow_patterns=["*.json"])
    filler.stop()
    offline = serve(cache, hub.endpoint, arguments=["--offline"])

    with fails_with("INCOMPLETE_SNAPSHOT") as failure:
        offline.ResolveSnapshot(repo_id=MODEL)

    assert int(failure.metadata["missing_count"]) == len(FILES) - 1
    assert offline.ResolveSnapshot(repo_id=MODEL, allow_patterns=["*.json"]).completeness == 1


def test_42_offline_a_commit_without_a_listing_is_answered_as_unknown(hub, serve, cache):
    filler = serve(cache, hub.endpoint)
    file = filler.file(MODEL, "config.json")
    filler.stop()
    offline = serve(cache, hub.endpoint, arguments=["--offline"])

    for revision in ("main", file.commit_hash):
        answer = offline.ResolveSnapshot(repo_id=MODEL, revision=revision)
        assert answer.completeness == 3
        assert file.path.startswith(answer.path + "/")


@pytest.mark.parametrize("patterns", [
    {"allow_patterns": ["**/*.txt"]}, {"allow_patterns": ["sub/*.txt"]},
    {"allow_patterns": ["SUB/*"]}, {"allow_patterns": ["nested/"]},
    {"allow_patterns": ["nested/*.txt"]}, {"allow_patterns": ["*.json", "*.md"]},
    {"allow_patterns": ["[cR]*"]}, {"allow_patterns": ["[!cR]*.*"]},
    {"allow_patterns": ["?????.txt"]}, {"allow_patterns": ["*[m模]*"]},
    {"allow_patterns": ["config.jso[n"]}, {"allow_patterns": ["nested\\deep*"]},
    {"ignore_patterns": ["*.bin", "*.safetensors"]}, {"ignore_patterns": ["*"]},
    {"allow_patterns": ["*.txt"], "ignore_patterns": ["empty*"]},
], ids=str)
def test_43_patterns_select_what_the_real_client_selects(patterns, newest, hub, serve, cache):
    ours = serve(cache, hub.endpoint).ResolveSnapshot(repo_id=MODEL, list_files=True,
                                                      **patterns)
    theirs = pathlib.Path(newest("snapshot_download", repo_id=MODEL, endpoint=hub.endpoint,
                                 cache_dir=str(cache) + "-theirs", **patterns))

    assert names(ours) == sorted(str(path.relative_to(theirs)) for path in theirs.rglob("*")
                                 if path.is_file())


def test_44_nothing_is_left_out_by_default(hub, serve, cache):
    hub.commit("models/org/odd", {".git/config": b"[core]\n", ".hidden": b"x", "a": b"a"})

    answer = serve(cache, hub.endpoint).ResolveSnapshot(repo_id="org/odd", list_files=True)

    assert names(answer) == [".git/config", ".hidden", "a"]


def test_45_a_dry_run_fetches_nothing(hub, serve, cache):
    server = serve(cache, hub.endpoint)
    server.file(MODEL, "config.json")
    hub.clear_log()

    answer = server.ResolveSnapshot(repo_id=MODEL, options={"dry_run": True}, list_files=True)

    assert answer.completeness == 2
    assert answer.missing_total == len(FILES) - 1
    assert {file.filename for file in answer.files if file.source == 2} == \
        FILES.keys() - {"config.json"}
    assert hub.gets() == hub.gets("hub") == []
    assert len(list((cache / FOLDER / "snapshots").rglob("*.*"))) == 1


def test_46_a_listing_of_many_pages_is_followed_to_its_end(repos, serve, cache):
    with Hub(repos, "--page-size", "2") as hub:
        answer = serve(cache, hub.endpoint).ResolveSnapshot(repo_id=MODEL, list_files=True)

        assert names(answer) == sorted(FILES)
        pages = [request for request in hub.log() if "/tree/" in request.target]
        assert len(pages) > len(FILES) // 2


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "con/x:y", "C:\\evil"])
def test_47_a_bad_name_in_a_listing_is_refused_before_anything_is_stored(name, hub, serve, cache):
    hub.commit("models/org/bad", {"good.txt": b"good", name: b"evil"})

    with fails_with("BAD_HUB_REPLY"):
        serve(cache, hub.endpoint).ResolveSnapshot(repo_id="org/bad")

    assert not any("evil" in path for path in survey(cache.parent))


def test_47_a_bad_name_does_not_fail_a_call_that_leaves_it_out(hub, serve, cache, oracle,
                                                               tmp_path):
    hub.commit("models/org/odd", {"good.txt": b"good", "a\tb": b"tab", "C:x": b"drive"})
    ignore = ["a*", "C:*"]
    theirs = pathlib.Path(oracle("snapshot_download", endpoint=hub.endpoint, repo_id="org/odd",
                                 cache_dir=str(tmp_path), ignore_patterns=ignore))
    server = serve(cache, hub.endpoint)

    answer = server.ResolveSnapshot(repo_id="org/odd", ignore_patterns=ignore)

    assert answer.file_count == 1 and answer.completeness == 1
    tree = pathlib.Path("models--org--odd", "trees", f"{answer.commit_hash}.json")
    assert (cache / tree).read_bytes() == (theirs.parents[2] / tree).read_bytes()
    with fails_with("BAD_HUB_REPLY"):
        server.ResolveSnapshot(repo_id="org/odd")


@pytest.mark.parametrize("revision_is_commit", [True, False])
def test_48_a_directory_is_not_a_file(revision_is_commit, hub, serve, cache):
    server = serve(cache, hub.endpoint)
    commit = server.file(MODEL, "nested/deep/down/file.txt").commit_hash

    for options in ({"local_files_only": True}, {}):
        with fails_with("NOT_CACHED" if options else "ENTRY_NOT_FOUND"):
            server.ResolveFile(repo_id=MODEL, filename="nested", options=options,
                               revision=commit if revision_is_commit else "main")
