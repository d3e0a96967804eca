# SPDX-License-Identifier: Apache-2.0
"""Evictions beside the real clients: what goes goes whole, so that their scanner finds a clean cache;
a client that has a file open keeps it; what a client fetches counts, and is evicted like all else."""

import json
import mmap
import os
import pathlib
import subprocess
import threading

import grpc
import huggingface_hub
import pytest

from cache_maker import CacheMaker, commit_of
from world import CLEAN, fails_with, hubcache, program, wait_until

MIB = 1 << 20
SIZE = 2 * MIB  # of each repo
LIMIT = 8 * MIB
NAMES = [f"org/evict-{number}" for number in range(8)]


@pytest.fixture
def filled(hub):
    for number, name in enumerate(NAMES):
        hub.control("add-made-up", b"", path="model.safetensors", size=SIZE, seed=number, lfs=1)
        hub.control("commit", b"", repo=f"models/{name}", revision="main")
    return hub


@pytest.fixture
def server(serve, filled, cache):
    return serve(cache, filled.endpoint, arguments=["--cache-limit", str(LIMIT)])


def fetch(server, name, used=None, **fields):
    """Resolves the snapshot, and sets its last use to so many seconds after the epoch."""
    answer = server.ResolveSnapshot(repo_id=name, **fields)
    if used is not None:
        folder = os.path.dirname(os.path.dirname(answer.path))
        for blob in os.scandir(f"{folder}/blobs"):
            os.utime(blob.path, (used, used))
        os.utime(answer.path, (used, used))
    return answer


def cached(cache):
    """Repo ids that the clients' scanner finds; it has nothing to say of the cache."""
    report = huggingface_hub.scan_cache_dir(cache)
    warnings = [str(warning) for warning in report.warnings]
    assert all(".hubcache" in warning for warning in warnings), warnings
    return {repo.repo_id for repo in report.repos}


def room_of(cache):
    inodes = {blob.stat().st_ino: blob.stat().st_blocks * 512 for blob in cache.glob("*/blobs/*")}
    return sum(inodes.values())


def evict(server, *arguments):
    done = subprocess.run([program("hubcache"), "--server", server.address, "evict", *arguments],
                          env=CLEAN, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def evict_json(server, *arguments):
    code, output, errors = evict(server, "--json", *arguments)
    assert code == 0, errors
    return json.loads(output)


def test_a_download_evicts_what_was_used_least_recently(server, cache):
    for number, name in enumerate(NAMES[:4]):
        fetch(server, name, used=1000 - number)
    assert cached(cache) == set(NAMES[:4])
    fetch(server, NAMES[4])
    assert room_of(cache) <= LIMIT
    # a twentieth of the limit goes as well, which is a part of one more
    assert cached(cache) == {NAMES[0], NAMES[1], NAMES[4]}


def test_a_client_that_has_a_file_open_keeps_it(server, cache):
    path = fetch(server, NAMES[0], used=1).path + "/model.safetensors"
    with open(path, "rb") as file:
        first = file.read(MIB)
        for name in NAMES[1:5]:
            fetch(server, name)
        assert not os.path.exists(path)
        rest = file.read()
    assert len(first) + len(rest) == SIZE
    assert NAMES[0] not in cached(cache)


def test_a_lease_holds_and_its_end_lets_go(server, cache, pb):
    answers = [fetch(server, name, options={"lease": {"seconds": 60}}) for name in NAMES[:4]]
    with fails_with("NO_SPACE") as failure:
        server.ResolveSnapshot(repo_id=NAMES[4])
    assert int(failure.metadata["limit_bytes"]) == LIMIT
    assert int(failure.metadata["needed_bytes"]) == SIZE
    assert all(os.path.exists(f"{answer.path}/model.safetensors") for answer in answers)
    stub = pb.cache.grpc.CacheStub(server.channel)
    stub.ReleaseLease(pb.cache.ReleaseLeaseRequest(lease_id=answers[2].lease_id))
    fetch(server, NAMES[4])
    assert cached(cache) == set(NAMES[:5]) - {NAMES[2]}


def test_a_file_larger_than_the_limit_evicts_nothing(server, filled, cache):
    for name in NAMES[:3]:
        fetch(server, name)
    filled.control("add-made-up", b"", path="model.safetensors", size=LIMIT + 1, seed=99, lfs=1)
    filled.control("commit", b"", repo="models/org/huge", revision="main")
    with fails_with("NO_SPACE"):
        server.ResolveSnapshot(repo_id="org/huge")
    with fails_with("NO_SPACE"):
        server.ResolveFile(repo_id="org/huge", filename="model.safetensors")
    repos = huggingface_hub.scan_cache_dir(cache).repos
    assert {repo.repo_id for repo in repos if repo.revisions} == set(NAMES[:3])


def test_what_a_client_has_fetched_is_evicted_too(server, filled, newest, cache):
    newest("snapshot_download", repo_id=NAMES[0], cache_dir=str(cache), endpoint=filled.endpoint)
    assert cached(cache) == {NAMES[0]}
    result = evict_json(server, str(SIZE), "--yes")
    assert [row["repo_id"] for row in result["removed"] if row["commit_hash"]] == [NAMES[0]]
    assert cached(cache) == set()


def test_the_command_shows_a_plan_and_asks(server, cache):
    for number, name in enumerate(NAMES[:3]):
        fetch(server, name, used=1000 + number)
    plan = evict_json(server, "3MB", "--dry-run")
    assert [row["repo_id"] for row in plan["removed"] if row["commit_hash"]] == NAMES[:2]
    assert plan["dry_run"] and plan["missing_bytes"] == 0
    assert all(row["detail"] == "least recently used" and row["last_used"]
               for row in plan["removed"] if row["commit_hash"])
    code, output, errors = evict(server, "3MB")
    assert code == 1 and "--yes" in errors and NAMES[0] in output
    assert cached(cache) == set(NAMES[:3])
    code, output, errors = evict(server, "3MB", "--json")  # the one object is no plan
    assert code == 1 and json.loads(output)["error"]["exit_code"] == 1 and "--yes" in errors
    assert cached(cache) == set(NAMES[:3])
    done = evict_json(server, "3MB", "--yes")
    assert done["removed"] == plan["removed"] and done["freed_bytes"] == plan["freed_bytes"]
    assert cached(cache) == {NAMES[2]}
    assert evict(server, "much")[0] == 2


QUANTS = [f"model-{name}.gguf" for name in ("Q2_K", "Q4_K_M", "Q5_K_M", "Q8_0", "F16")]


@pytest.fixture
def quantized(filled):
    """A repo with a file more than the limit lets the cache have."""
    for number, name in enumerate(QUANTS):
        filled.control("add-made-up", b"", path=name, size=SIZE, seed=100 + number, lfs=1)
    filled.control("commit", b"", repo="models/org/gguf", revision="main")
    return filled


def fetch_quant(server, number, used):
    path = server.ResolveFile(repo_id="org/gguf", filename=QUANTS[number], timeout=30).file.path
    os.utime(os.path.realpath(path), (used, used))
    return os.path.dirname(path)


def test_a_repo_that_is_fetched_file_by_file_makes_room_for_the_next(server, quantized, newest, cache):
    for number in (0, 2, 3, 1):
        fetch_quant(server, number, used=1000 - number)
    snapshot = fetch_quant(server, 4, used=2000)
    assert set(os.listdir(snapshot)) == {*QUANTS} - {QUANTS[3]}  # used least recently
    assert room_of(cache) <= LIMIT
    assert cached(cache) == {"org/gguf"}
    newest("hf_hub_download", repo_id="org/gguf", filename=QUANTS[3], cache_dir=str(cache),
           endpoint=quantized.endpoint)
    assert set(os.listdir(snapshot)) == {*QUANTS}
    assert cached(cache) == {"org/gguf"}


def test_files_of_a_leased_snapshot_make_no_room_for_the_next(server, quantized, cache):
    for number in range(4):
        snapshot = fetch_quant(server, number, used=1000)
    server.ResolveFile(repo_id="org/gguf", filename=QUANTS[0], options={"lease": {"seconds": 60}})
    with fails_with("NO_SPACE") as failure:
        server.ResolveFile(repo_id="org/gguf", filename=QUANTS[4])
    assert f"{4 * SIZE} bytes leased" in failure.message
    assert set(os.listdir(snapshot)) == {*QUANTS[:4]}


def test_room_that_is_in_use_is_missing_and_the_exit_status_says_so(server, cache):
    fetch(server, NAMES[0], options={"lease": {"seconds": 60}})
    for consent in ("--yes", "--dry-run", None):
        code, output, errors = evict(server, "1MB", *([consent] if consent else []))
        assert code == 1 and output == ""
        assert f"kept: model/{NAMES[0]}@" in errors and "1.0 MB are missing" in errors
    code, output, _ = evict(server, "1MB", "--yes", "--json")
    answer = json.loads(output)
    assert code == 1 and answer["missing_bytes"] == 1000000 and answer["removed"] == []
    assert [row["held_by"] for row in answer["kept"]] == ["lease"]
    assert cached(cache) == {NAMES[0]}


def test_the_audit_log_has_what_an_eviction_took_and_nothing_of_a_plan(serve, filled, cache,
                                                                       tmp_path):
    audit = tmp_path / "audit.log"
    server = serve(cache, filled.endpoint, arguments=["--audit-log", str(audit)])
    fetch(server, NAMES[0])
    evict_json(server, "1MB", "--dry-run")
    done = evict_json(server, "1MB", "--yes")

    def lines():
        found = [json.loads(line) for line in audit.read_text().splitlines()]
        return [line for line in found if line.get("rpc", "").endswith("/Evict")]

    wait_until(lambda: len(lines()) == 2, "a line for each call")
    plan, taken = lines()
    assert not plan.get("bytes") and not plan.get("files")
    assert taken["bytes"] == done["freed_bytes"] > 0 and taken["files"] > 0


def test_two_replicas_keep_one_limit(serve, filled, cache):
    servers = [serve(cache, filled.endpoint, arguments=["--cache-limit", str(LIMIT)])
               for _ in range(2)]
    calls = [servers[number % 2].start("ResolveSnapshot", repo_id=name)
             for number, name in enumerate(NAMES)]
    for call in calls:
        try:
            call.result()
        except grpc.RpcError as error:
            pytest.fail(error.details())
    wait_until(lambda: room_of(cache) <= LIMIT, "the cache within its limit")
    cached(cache)


def test_a_limit_comes_and_goes_with_a_reload(serve, filled, cache, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("cache-limit: 100G\n")
    server = serve(cache, filled.endpoint, arguments=["--config", str(config)])
    for name in NAMES:
        fetch(server, name)
    assert len(cached(cache)) == len(NAMES)
    config.write_text(f"cache-limit: {LIMIT}\n")
    server.process.send_signal(1)
    wait_until(lambda: '"reloaded"' in server.log(), "the reload")
    result = evict_json(server, "--yes")
    assert result["missing_bytes"] == 0
    assert room_of(cache) <= LIMIT
    cached(cache)


# --- what other clients have made of the volume -------------------------------------------


NOWHERE = "http://127.0.0.1:9"
PAYLOAD = b"p" * 65536


def folder_of(number):
    return f"models--org--made-{number}"


def payloads(cache):
    return [path for path in (cache / "blobs").glob("??/*") if len(path.name) == 64]


def make_sharers(cache, count):
    """Repos with one payload of the shared store, and a file of their own."""
    maker = CacheMaker(cache)
    for number in range(count):
        maker.shared(folder_of(number), commit_of(number), "model.safetensors", PAYLOAD)
        maker.file(folder_of(number), commit_of(number), "config.json", b"%d" % number)
        maker.ref(folder_of(number), "main", commit_of(number))
    return maker


def set_used(cache, number, used):
    snapshot = cache / folder_of(number) / "snapshots" / commit_of(number)
    for path in [*(cache / folder_of(number) / "blobs").iterdir(), snapshot]:
        os.utime(path, (used, used), follow_symlinks=not path.is_symlink())


def test_the_payload_of_the_shared_store_goes_with_the_last_repo_that_has_it(serve, cache):
    maker = make_sharers(cache, 6)
    maker.file("models--org--own", commit_of(9), "own.bin", b"o" * 65536)
    maker.ref("models--org--own", "main", commit_of(9))
    server = serve(cache, NOWHERE, arguments=("--offline",))
    for number in range(6):
        set_used(cache, number, 1000 + number)

    os.utime(payloads(cache)[0], (1000, 1000))
    assert len(cached(cache)) == 7
    plan = evict_json(server, str(len(PAYLOAD)), "--dry-run")
    result = evict_json(server, str(len(PAYLOAD)), "--yes")
    assert result["removed"] == plan["removed"] and plan["missing_bytes"] == 0
    assert result["missing_bytes"] == 0 and result["freed_bytes"] >= len(PAYLOAD)
    assert payloads(cache) == []
    assert cached(cache) == {"org/own"}


def test_a_payload_that_a_held_repo_has_stays_with_its_manifest(serve, cache):
    make_sharers(cache, 3)
    server = serve(cache, NOWHERE, arguments=("--offline",))
    assert hubcache("pin", "org/made-1", server=server).returncode == 0
    code, output, _ = evict(server, str(len(PAYLOAD)), "--yes", "--json")
    assert code == 1 and json.loads(output)["missing_bytes"] > 0, output
    (payload,) = payloads(cache)
    assert payload.read_bytes() == PAYLOAD
    lines = payload.with_name(payload.name + ".refs").read_text().splitlines()
    assert [line for line in lines if (cache / line).is_symlink()] \
        == [line for line in lines if line.startswith(folder_of(1) + "/")] != []
    assert cached(cache) == {"org/made-1"}


def test_a_hard_link_takes_no_room_and_the_last_one_frees_it(serve, filled, cache):
    """A limit of two files, and four with one inode."""
    server = serve(cache, filled.endpoint, arguments=["--cache-limit", str(2 * SIZE)])
    path = pathlib.Path(fetch(server, NAMES[0], used=1).path) / "model.safetensors"
    blob = path.resolve()
    maker = CacheMaker(cache)
    for number in range(3):
        folder = folder_of(number)
        (cache / folder / "blobs").mkdir(parents=True)
        os.link(blob, cache / folder / "blobs" / blob.name)
        maker.pointer(folder, commit_of(number), "model.safetensors", blob.name)
        maker.ref(folder, "main", commit_of(number))
    server.kill()
    server = serve(cache, filled.endpoint, arguments=["--cache-limit", str(2 * SIZE)])
    fetch(server, NAMES[1])
    assert room_of(cache) == 2 * SIZE and len(cached(cache)) == 5
    result = evict_json(server, str(SIZE), "--yes")
    assert result["freed_bytes"] >= SIZE and result["missing_bytes"] == 0
    assert cached(cache) == {NAMES[1]}


def test_a_client_that_has_mapped_a_file_keeps_it(server):
    path = fetch(server, NAMES[0], used=1).path + "/model.safetensors"
    whole = pathlib.Path(path).read_bytes()
    with open(path, "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with mapped:
        evict_json(server, str(SIZE), "--yes")
        assert not os.path.exists(path)
        assert mapped[:] == whole


def test_the_real_client_loads_while_everything_is_evicted(server, filled, newest, cache):
    """It expects the directories that it has made to be there; the next call mends all."""
    stop, failures = threading.Event(), []

    def evict_all():
        while not stop.is_set():
            code, _, errors = evict(server, "1T", "--yes")
            if code not in (0, 1):
                failures.append(errors)

    thread = threading.Thread(target=evict_all)
    thread.start()
    try:
        for number in range(4):
            replies = newest.replies(
                ("snapshot_download", {"repo_id": NAMES[0], "cache_dir": str(cache)}),
                ("hf_hub_download", {"repo_id": NAMES[1], "filename": "model.safetensors",
                                     "cache_dir": str(cache)}),
                endpoint=filled.endpoint)
            assert all(reply.get("error") in (None, "FileNotFoundError") for reply in replies), replies
            server.ResolveSnapshot(repo_id=NAMES[number])
    finally:
        stop.set()
        thread.join()
    assert failures == []
    newest("snapshot_download", repo_id=NAMES[0], cache_dir=str(cache), endpoint=filled.endpoint)
    assert NAMES[0] in cached(cache)
    newest("verify", endpoint=filled.endpoint, repo_id=NAMES[0], cache_dir=str(cache),
           revision="main")


# --- the floor ----------------------------------------------------------------------------


@pytest.fixture
def small_volume(tmp_path):
    """With space for 12 MiB."""
    root = tmp_path / "small"
    root.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(root)],
                      capture_output=True).returncode != 0:
        pytest.skip("a file system cannot be mounted here")
    yield root
    subprocess.run(["umount", "--lazy", str(root)], check=True)


def free_of(root):
    volume = os.statvfs(root)
    return volume.f_bavail * volume.f_frsize


def test_a_download_leaves_the_floor_free_and_an_eviction_restores_it(serve, filled, small_volume):
    """Four repos fit above the floor; the fifth evicts, and so does what others write."""
    arguments = ["--free-floor", str(3 * MIB)]
    cache = small_volume / "cache"
    server = serve(cache, filled.endpoint, arguments=arguments)
    for number, name in enumerate(NAMES[:4]):
        fetch(server, name, used=1000 + number)
    assert cached(cache) == set(NAMES[:4]) and free_of(small_volume) >= 3 * MIB
    fetch(server, NAMES[4], options={"lease": {"seconds": 60}})
    assert cached(cache) == {*NAMES[1:4], NAMES[4]}
    assert free_of(small_volume) >= 3 * MIB
    (small_volume / "foreign").write_bytes(bytes(3 * MIB))
    assert free_of(small_volume) < 3 * MIB
    result = evict_json(server, "--yes")
    assert result["missing_bytes"] == 0 and free_of(small_volume) >= 3 * MIB
    assert cached(cache) == {NAMES[3], NAMES[4]}
