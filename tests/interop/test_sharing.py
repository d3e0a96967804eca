# SPDX-License-Identifier: Apache-2.0
"""One cache, several clients: the real client and hubcached read each other's files offline, fetch
in turn, and fetch at once. None fetches what another has fetched."""

import pathlib

from content import BIG, BIG_FILES, FILES, LFS_FILE, MODEL, TINY
from world import blobs_of, fails_with, incompletes

OFFLINE = {"HF_HUB_OFFLINE": "1"}


def files_below(folder):
    folder = pathlib.Path(folder)
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*") if path.is_file()}


# --- the real client reads ----------------------------------------------------------------


def test_the_real_client_finds_a_file_of_hubcached_offline(oracle, hub, serve, cache):
    path = serve(cache, hub.endpoint).file(MODEL, "nested/weights.bin").path
    hub.clear_log()
    arguments = {"repo_id": MODEL, "filename": "nested/weights.bin", "cache_dir": str(cache)}

    found = oracle.replies(
        ("hf_hub_download", arguments | {"local_files_only": True}),
        ("look_up", arguments),
        endpoint=hub.endpoint, environment=OFFLINE)

    assert [reply.get("result") for reply in found] == [path, path]
    assert hub.log() == []


def test_the_real_client_finds_a_snapshot_of_hubcached_offline(oracle, hub, serve, cache):
    answer = serve(cache, hub.endpoint).ResolveSnapshot(repo_id=MODEL)
    hub.clear_log()

    found = oracle("snapshot_download", repo_id=MODEL, cache_dir=str(cache),
                   local_files_only=True, endpoint=hub.endpoint, environment=OFFLINE)

    assert found == answer.path
    assert files_below(found) == FILES
    assert hub.log() == []


def test_the_real_client_needs_only_the_revision_of_a_snapshot(oracle, hub, serve, cache):
    serve(cache, hub.endpoint).ResolveSnapshot(repo_id=MODEL)
    hub.clear_log()

    oracle("snapshot_download", repo_id=MODEL, cache_dir=str(cache), endpoint=hub.endpoint)

    assert [request.target for request in hub.log()] == \
        [f"/api/models/{MODEL}/revision/main"]


def test_the_real_client_reads_from_no_exist_that_a_file_is_missing(oracle, hub, serve, cache):
    server = serve(cache, hub.endpoint)
    with fails_with("ENTRY_NOT_FOUND"):
        server.file(MODEL, "no-such.txt")

    assert oracle("look_up", repo_id=MODEL, filename="no-such.txt", cache_dir=str(cache),
                  endpoint=hub.endpoint) == "KNOWN_MISSING"


def test_the_real_clients_scanner_reports_no_damage(oracle, hub, serve, cache):
    server = serve(cache, hub.endpoint)
    server.ResolveSnapshot(repo_id=MODEL)
    server.ResolveSnapshot(repo_id="org/data", repo_type=2)
    server.file(MODEL, "config.json", "refs/pr/1")

    seen = oracle("scan", cache_dir=str(cache), endpoint=hub.endpoint)

    assert seen["repos"].keys() == {f"models/{MODEL}", "datasets/org/data"}
    assert seen["repos"][f"models/{MODEL}"]["refs"] == ["main", "refs/pr/1"]
    # The scanner warns about hubcached's own folder, which is no repo, and about nothing else.
    assert len(seen["warnings"]) == 1 and ".hubcache" in seen["warnings"][0]


def test_transformers_loads_config_and_tokenizer_from_the_cache(newest, hub, serve, tmp_path):
    cache = tmp_path / "hub"
    serve(cache, hub.endpoint).ResolveSnapshot(repo_id=TINY)
    hub.clear_log()

    loaded = newest("load_model_parts", repo_id=TINY, endpoint=hub.endpoint,
                    environment=OFFLINE | {"HF_HOME": str(tmp_path)})

    assert loaded["model_type"] == "bert" and loaded["hidden_size"] == 8
    assert loaded["tokens"] == [5, 6]
    assert hub.log() == []


def test_transformers_finds_a_cached_file_by_the_path_of_hubcached(newest, hub, serve, cache):
    path = serve(cache, hub.endpoint).file(TINY, "config.json").path

    assert newest("cached_file", path_or_repo_id=TINY, filename="config.json",
                  cache_dir=str(cache), endpoint=hub.endpoint, environment=OFFLINE) == path


# --- hubcached reads ----------------------------------------------------------------------


def test_hubcached_finds_a_file_of_the_real_client_offline(oracle, hub, serve, cache):
    path = oracle("hf_hub_download", repo_id=MODEL, filename="model.safetensors",
                  cache_dir=str(cache), endpoint=hub.endpoint)
    hub.clear_log()

    file = serve(cache, hub.endpoint, arguments=["--offline"]).file(MODEL, "model.safetensors")

    assert file.path == path
    assert (file.size_bytes, file.source) == (len(LFS_FILE), 1)
    assert pathlib.Path(file.path).read_bytes() == LFS_FILE
    assert hub.log() == []


def test_hubcached_proves_a_snapshot_of_the_real_client_complete_offline(oracle, hub, serve,
                                                                         cache):
    path = oracle("snapshot_download", repo_id=MODEL, cache_dir=str(cache),
                  endpoint=hub.endpoint)
    hub.clear_log()

    answer = serve(cache, hub.endpoint, arguments=["--offline"]).ResolveSnapshot(repo_id=MODEL)

    assert answer.path == path
    assert answer.completeness == 1
    assert answer.file_count == len(FILES)
    assert hub.log() == []


def test_hubcached_reads_plain_files_of_the_real_client(oracle, hub, serve, cache):
    path = pathlib.Path(oracle(
        "hf_hub_download", repo_id=MODEL, filename="config.json", cache_dir=str(cache),
        endpoint=hub.endpoint, environment={"HF_HUB_DISABLE_SYMLINKS": "1"}))
    assert not path.is_symlink(), "the case to be tested"

    file = serve(cache, hub.endpoint, arguments=["--offline"]).file(MODEL, "config.json")

    assert file.path == str(path)


# --- in turn ------------------------------------------------------------------------------


def test_neither_fetches_what_the_other_has(oracle, hub, serve, cache):
    server = serve(cache, hub.endpoint)
    arguments = {"repo_id": MODEL, "cache_dir": str(cache), "endpoint": hub.endpoint}

    server.file(MODEL, "model.safetensors")
    oracle("hf_hub_download", filename="nested/weights.bin", **arguments)
    server.file(MODEL, "config.json")
    oracle("snapshot_download", **arguments)
    answer = server.ResolveSnapshot(repo_id=MODEL, options={"max_staleness": {"seconds": 0}})

    assert answer.downloaded_bytes == 0
    assert files_below(answer.path) == FILES
    assert sum(request.bytes for request in hub.gets()) == \
        len(LFS_FILE) + len(FILES["nested/weights.bin"])


def test_a_forced_download_of_either_side_is_fine_for_the_other(oracle, hub, serve, cache):
    server = serve(cache, hub.endpoint)
    path = server.file(MODEL, "model.safetensors").path

    oracle("hf_hub_download", repo_id=MODEL, filename="model.safetensors",
           cache_dir=str(cache), endpoint=hub.endpoint, force_download=True)
    file = server.ResolveFile(repo_id=MODEL, filename="model.safetensors",
                              options={"force_download": True}).file

    assert file.path == path
    assert pathlib.Path(path).read_bytes() == LFS_FILE
    assert oracle("look_up", repo_id=MODEL, filename="model.safetensors",
                  cache_dir=str(cache), endpoint=hub.endpoint) == path


# --- at once ------------------------------------------------------------------------------


def test_all_at_once_fetch_a_file_once(oracle, hub, serve, cache):
    server = serve(cache, hub.endpoint)
    name = "first.safetensors"
    hub.rule("delay", on_cdn=True, number=2000)
    download = ("hf_hub_download", {"repo_id": BIG, "filename": name, "cache_dir": str(cache)})

    started = [oracle.start(download, endpoint=hub.endpoint) for _ in range(4)]
    asked = [server.start("ResolveFile", repo_id=BIG, filename=name) for _ in range(4)]
    paths = {call.result().file.path for call in asked}
    paths |= {oracle.finish(one)[0]["result"] for one in started}

    (path,) = paths
    assert pathlib.Path(path).read_bytes() == BIG_FILES[name]
    assert len(hub.gets()) == 1
    assert len(blobs_of(cache)) == 1
    assert incompletes(cache) == []
