# SPDX-License-Identifier: Apache-2.0
"""Traps about the volume: leftovers, locks, permissions, links that dangle or chain, a full disk.
Numbers are those of tests/traps.md."""

import contextlib
import fcntl
import os
import pathlib
import shutil
import stat
import subprocess
import sys

import pytest

from content import BIG, BIG_FILES, FILES, LFS_FILE, MODEL
from world import blobs_of, fails_with, incompletes, wait_until

FOLDER = "models--org--model"
NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def world_readable(tmp_path):
    """A directory that another user can reach."""
    folder = tmp_path
    while folder != pathlib.Path("/tmp") and folder.stat().st_uid == os.geteuid() \
            and folder != folder.parent:
        folder.chmod(folder.stat().st_mode | 0o055)
        folder = folder.parent
    return tmp_path


def test_24_a_blob_that_is_there_already_is_checked_before_it_is_linked(hub, serve, cache):
    server = serve(cache, hub.endpoint)
    etag = server.file(MODEL, "model.safetensors").etag
    shutil.rmtree(cache / FOLDER / "snapshots")
    (cache / FOLDER / "blobs" / etag).write_bytes(b"garbage of another length")

    file = server.file(MODEL, "model.safetensors")

    assert pathlib.Path(file.path).read_bytes() == LFS_FILE


def test_31_another_clients_incomplete_file_is_left_alone(hub, serve, cache):
    server = serve(cache, hub.endpoint)
    etag = server.file(MODEL, "model.safetensors").etag
    other = cache / FOLDER / "blobs" / f"{etag}.0123abcd.incomplete"
    other.write_bytes(b"half")
    server.ResolveFile(repo_id=MODEL, filename="model.safetensors",
                       options={"force_download": True})
    server.stop()

    serve(cache, hub.endpoint).file(MODEL, "README.md")

    assert other.read_bytes() == b"half", "another client may still write to it"


def test_32_a_legacy_incomplete_file_is_ignored(hub, serve, cache):
    server = serve(cache, hub.endpoint)
    etag = server.file(MODEL, "README.md").etag
    shutil.rmtree(cache / FOLDER)
    legacy = cache / FOLDER / "blobs" / f"{etag}.incomplete"
    legacy.parent.mkdir(parents=True)
    legacy.write_bytes(b"half")

    file = server.ResolveFile(repo_id=MODEL, filename="README.md",
                              options={"max_staleness": {"seconds": 0}}).file

    assert pathlib.Path(file.path).read_bytes() == FILES["README.md"]
    assert legacy.read_bytes() == b"half"


@pytest.fixture
def lock_file(hub, serve, tmp_path, cache):
    """The lock of model.safetensors' blob, not held, in a cache without that file."""
    other = serve(tmp_path / "other", hub.endpoint)
    etag = other.file(MODEL, "model.safetensors").etag
    path = cache / ".locks" / FOLDER / f"{etag}.lock"
    path.parent.mkdir(parents=True)
    path.touch()
    hub.clear_log()
    return path


def test_34_a_flock_is_waited_for(hub, serve, cache, lock_file):
    with open(lock_file) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        call = serve(cache, hub.endpoint).start("ResolveFile", repo_id=MODEL,
                                                filename="model.safetensors")
        hub.await_requests(1, contains="model.safetensors")
        with pytest.raises(Exception, match="(?i)timeout|^$"):
            call.result(timeout=0.5)
        assert hub.gets() == []

    assert pathlib.Path(call.result().file.path).read_bytes() == LFS_FILE


def test_34_a_record_lock_is_not_waited_for(hub, serve, cache, lock_file):
    holder = subprocess.Popen(
        [sys.executable, "-c", "import fcntl, sys; f = open(sys.argv[1], 'r+'); "
         "fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()",
         str(lock_file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"

    file = serve(cache, hub.endpoint).file(MODEL, "model.safetensors")

    assert pathlib.Path(file.path).read_bytes() == LFS_FILE
    holder.communicate("")


def test_35_a_lock_file_stays_and_everyone_may_open_it(hub, serve, cache):
    server = serve(cache, hub.endpoint, umask=0o077)
    etag = server.file(MODEL, "config.json").etag

    lock = cache / ".locks" / FOLDER / f"{etag}.lock"
    assert stat.S_IMODE(lock.stat().st_mode) == 0o664
    assert lock.read_bytes() == b""


@needs_root
def test_36_a_volume_that_cannot_be_written_to_still_answers(hub, serve, cache, world_readable):
    filler = serve(cache, hub.endpoint)
    path = filler.file(MODEL, "config.json").path
    filler.stop()

    server = serve(cache, hub.endpoint, before=as_nobody())

    assert server.file(MODEL, "config.json").path == path
    again = server.ResolveFile(repo_id=MODEL, filename="config.json",
                               options={"max_staleness": {"seconds": 0}}).file
    assert again.path == path
    with fails_with("CACHE_READ_ONLY") as failure:
        server.file(MODEL, "README.md")
    assert str(cache) in failure.message or "README.md" in failure.message
    with fails_with("ENTRY_NOT_FOUND"):
        server.file(MODEL, "no-such.txt")


def as_nobody():
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


@needs_root
def test_37_an_unreadable_tree_does_not_make_a_snapshot_complete(oracle, hub, serve, cache,
                                                                 world_readable):
    oracle("snapshot_download", repo_id=MODEL, cache_dir=str(cache), endpoint=hub.endpoint,
           allow_patterns=["*.json"])

    server = serve(cache, hub.endpoint, arguments=["--offline"], before=as_nobody())

    answer = server.ResolveSnapshot(repo_id=MODEL)
    assert answer.completeness == 3, "unknown"


@needs_root
def test_37_a_tree_of_hubcached_is_readable_by_other_users(hub, serve, cache, world_readable):
    filler = serve(cache, hub.endpoint)
    filler.ResolveSnapshot(repo_id=MODEL)
    filler.stop()

    server = serve(cache, hub.endpoint, arguments=["--offline"], before=as_nobody())

    assert server.ResolveSnapshot(repo_id=MODEL).completeness == 1


@needs_root
def test_38_an_unreadable_token_file_is_named(hub, serve, cache, tmp_path, world_readable):
    token = tmp_path / "token"
    token.write_text("hf_x")
    token.chmod(0o600)
    cache.mkdir()
    os.chown(cache, NOBODY, NOBODY)
    server = serve(cache, hub.endpoint, environment={"HF_TOKEN_PATH": str(token)},
                   before=as_nobody())

    with fails_with("INTERNAL") as failure:
        server.file(MODEL, "config.json")

    assert str(token) in failure.message


def test_39_without_symlinks_the_pointer_is_the_file(hub, serve, cache):
    server = serve(cache, hub.endpoint, environment={"HF_HUB_DISABLE_SYMLINKS": "1"})

    path = pathlib.Path(server.file(MODEL, "config.json").path)

    assert path.is_file() and not path.is_symlink()
    assert path.read_bytes() == FILES["config.json"]


def test_39_without_symlinks_force_replaces_the_file(hub, serve, cache):
    server = serve(cache, hub.endpoint, environment={"HF_HUB_DISABLE_SYMLINKS": "1"})
    path = pathlib.Path(server.file(MODEL, "config.json").path)
    path.write_bytes(b"spoilt")

    server.ResolveFile(repo_id=MODEL, filename="config.json", options={"force_download": True})

    assert path.read_bytes() == FILES["config.json"]


def test_53_when_main_moves_the_old_file_is_found_by_commit_alone(hub, serve, cache):
    first = serve(cache, hub.endpoint)
    old = first.file(MODEL, "README.md")
    hub.commit(f"models/{MODEL}", {"config.json": b"moved"})
    first.ResolveFile(repo_id=MODEL, filename="config.json",
                      options={"max_staleness": {"seconds": 0}})
    first.stop()

    offline = serve(cache, hub.endpoint, arguments=["--offline"])

    with fails_with("NOT_CACHED"):
        offline.file(MODEL, "README.md")
    assert offline.file(MODEL, "README.md", old.commit_hash).path == old.path


def test_54_a_dangling_link_is_absent_and_online_heals_it(hub, serve, cache):
    server = serve(cache, hub.endpoint)
    file = server.file(MODEL, "model.safetensors")
    (cache / FOLDER / "blobs" / file.etag).unlink()

    with fails_with("NOT_CACHED"):
        server.ResolveFile(repo_id=MODEL, filename="model.safetensors",
                           options={"local_files_only": True})
    assert server.file(MODEL, "model.safetensors").path == file.path
    assert pathlib.Path(file.path).read_bytes() == LFS_FILE


def test_55_a_download_that_failed_leaves_no_ref_to_a_snapshot_that_is_not_there(oracle, hub,
                                                                                 serve, cache):
    server = serve(cache, hub.endpoint)
    hub.rule("corrupt", on_cdn=True, number=7)
    with fails_with("CHECKSUM_MISMATCH"):
        server.file("org/data", "big.bin", repo_type=2)
    server.file(MODEL, "config.json")

    seen = oracle("scan", cache_dir=str(cache), endpoint=hub.endpoint)

    assert list(seen["repos"]) == [f"models/{MODEL}"]
    assert not any("refs" in warning.lower() for warning in seen["warnings"])


def test_57_leftovers_of_a_deletion_do_no_harm(oracle, hub, serve, cache):
    server = serve(cache, hub.endpoint)
    commit = server.ResolveSnapshot(repo_id=MODEL).commit_hash
    server.file(MODEL, "config.json", "v1.0")
    with fails_with("ENTRY_NOT_FOUND"):
        server.file(MODEL, "no-such.txt")
    oracle("delete", cache_dir=str(cache), revisions=[commit], endpoint=hub.endpoint)
    assert list(cache.glob("*/trees/*")) and list(cache.glob("*/.no_exist/*")), "the trap"

    answer = server.ResolveSnapshot(repo_id=MODEL)

    assert answer.completeness == 1
    assert all((pathlib.Path(answer.path) / name).read_bytes() == content
               for name, content in FILES.items())


def shared_store(cache, file):
    """Moves a file's blob into the shared store of newer clients."""
    blob = cache / FOLDER / "blobs" / file.etag
    store = cache / "blobs" / "ab"
    store.mkdir(parents=True)
    (cache / "blobs" / ".huggingface-shared-blobs").write_text("1\n")
    payload = store / ("ab" + "0" * 62)
    blob.rename(payload)
    payload.chmod(0o444)
    blob.symlink_to(os.path.relpath(payload, blob.parent))
    return payload


def test_59_a_chain_of_links_into_the_shared_store_is_read(hub, serve, cache):
    server = serve(cache, hub.endpoint)
    first = server.file(MODEL, "model.safetensors")
    shared_store(cache, first)

    second = server.ResolveFile(repo_id=MODEL, filename="model.safetensors",
                                options={"local_files_only": True}).file

    assert (second.path, second.etag) == (first.path, first.etag)
    assert second.size_bytes == len(LFS_FILE)


def test_59_a_payload_of_the_shared_store_is_never_written_to(hub, serve, cache):
    server = serve(cache, hub.endpoint)
    payload = shared_store(cache, server.file(MODEL, "model.safetensors"))
    before = payload.stat()

    server.ResolveFile(repo_id=MODEL, filename="model.safetensors",
                       options={"force_download": True})

    assert payload.stat().st_ino == before.st_ino
    assert payload.read_bytes() == LFS_FILE
    assert payload.stat().st_mtime_ns == before.st_mtime_ns


def fill(path):
    """Writes to a file until the volume is full."""
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(1 << 16)):
            pass


@pytest.fixture
def small_volume(tmp_path, request):
    """A cache root with space for 2 MiB, or for as many as the test says."""
    root = tmp_path / "small"
    root.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={getattr(request, 'param', 2)}m", "tmpfs", str(root)],
                      capture_output=True).returncode != 0:
        pytest.skip("a file system cannot be mounted here")
    yield root
    subprocess.run(["umount", "--lazy", str(root)], check=True)


def test_60_a_full_disk_is_reported_with_figures_and_leaves_nothing(hub, serve, small_volume):
    server = serve(small_volume, hub.endpoint)

    with fails_with("NO_SPACE") as failure:
        server.file(BIG, "first.safetensors")

    assert int(failure.metadata["needed_bytes"]) > int(failure.metadata["free_bytes"])
    assert incompletes(small_volume) == []
    assert blobs_of(small_volume) == {}
    assert server.file(MODEL, "model.safetensors").size_bytes == len(LFS_FILE)


def test_60_a_file_larger_than_the_free_space_is_refused_before_the_first_byte(hub, serve,
                                                                               small_volume):
    server = serve(small_volume, hub.endpoint)

    with fails_with("NO_SPACE") as failure:
        server.file(BIG, "first.safetensors")

    assert int(failure.metadata["needed_bytes"]) == len(BIG_FILES["first.safetensors"])
    assert int(failure.metadata["free_bytes"]) <= 2 << 20
    assert hub.gets() == []


@pytest.mark.parametrize("small_volume", [12], indirect=True)
def test_60_space_taken_during_a_download_ends_it_and_leaves_nothing(hub, serve, small_volume):
    server = serve(small_volume, hub.endpoint)
    hub.rule("stall", on_cdn=True, method="GET", times=1, number=3 << 20)
    call = server.start("ResolveFile", repo_id=BIG, filename="first.safetensors")
    hub.await_stall()
    wait_until(lambda: incompletes(small_volume), "a partial")
    fill(small_volume / "others")
    hub.release()

    with fails_with("NO_SPACE") as failure:
        call.result()

    assert int(failure.metadata["needed_bytes"]) > int(failure.metadata["free_bytes"])
    assert incompletes(small_volume) == []
    assert [path for path in (small_volume / ".hubcache" / "transfers").rglob("*")
            if path.is_file()] == []
    (small_volume / "others").unlink()
    assert server.file(BIG, "first.safetensors").size_bytes == len(BIG_FILES["first.safetensors"])
