# SPDX-License-Identifier: Apache-2.0
"""The examples of all languages print the same. Each is run against a real hubcached."""

import re

import grpc
import pytest

import world

from conftest import HERE, Ask, finish
from content import BIG, BIG_FILES, FILES, LFS_FILE, MODEL
from pki import Authority

BIG_BYTES = sum(map(len, BIG_FILES.values()))
OK, FAILED = 0, 1
CANCELLED, DEADLINE_EXCEEDED, NOT_FOUND, RESOURCE_EXHAUSTED, UNAVAILABLE = 1, 4, 5, 8, 14


def status_of(lines):
    return int(re.match(r"status (\d+): ", lines[0])[1])


def stall_downloads(hub):
    """Bytes stop in the middle of each file of 256 KiB or more until the hub releases them."""
    hub.rule("stall", on_cdn=True, method="GET", number=len(LFS_FILE) // 2)


def test_a_file_is_named_on_the_own_mount(ask, hub, mount):
    commit = hub.commit_of(f"models/{MODEL}")
    path = mount / "models--org--model" / "snapshots" / commit / "config.json"

    assert ask("file", MODEL, "config.json") == (OK, f"{path}\n".encode(), [])

    assert path.read_bytes() == FILES["config.json"]
    hub.clear_log()
    assert ask("file", MODEL, "config.json") == (OK, f"{path}\n".encode(), [])
    assert hub.log() == []


def test_another_volume_is_noticed(ask, mount, tmp_path):
    mount.unlink()
    (mount / ".hubcache").mkdir(parents=True)
    (mount / ".hubcache" / "cache-id").write_text("00000000-0000-0000-0000-000000000000\n")

    status, output, errors = ask("file", MODEL, "config.json")

    assert (status, output) == (FAILED, b"")
    assert errors == [f"{mount} is another volume than the server's"]


def test_a_download_shows_progress(ask, hub, mount):
    stall_downloads(hub)

    with ask.start("watch", BIG, 10**12) as process:
        progress = process.stderr.readline().decode()
        hub.clear_rules()
        hub.release()
        status, output, errors = finish(process)

    assert (status, output.decode().strip()) == \
        (OK, str(mount / "models--org--big" / "snapshots" / hub.commit_of(f"models/{BIG}")))
    for line in [progress, *errors]:
        done, total = map(int, re.fullmatch(r"(\d+) of (\d+) bytes\n?", line).groups())
        assert done <= total and total == BIG_BYTES


def test_a_download_that_is_too_large_is_cancelled(ask, hub, serve):
    stall_downloads(hub)

    status, output, errors = ask("watch", BIG, BIG_BYTES - 1)

    assert (status, output) == (FAILED, b"")
    assert re.fullmatch(rf"\d+ of {BIG_BYTES} bytes", errors[0])
    assert status_of(errors[-1:]) == CANCELLED
    hub.release()


def test_a_failure_has_a_reason_and_metadata(language, serve, mount):
    ask = Ask(language, serve("--offline").address, mount)

    status, output, errors = ask("file", MODEL, "config.json")

    assert (status, output) == (FAILED, b"")
    assert status_of(errors) == NOT_FOUND
    assert "config.json" in errors[0]
    assert sorted(errors[1:]) == ["filename: config.json", "reason NOT_CACHED", f"repo_id: {MODEL}",
                                  "repo_type: model", "revision: main"]


def test_a_failure_says_when_to_retry(ask, hub):
    hub.rule("status", number=429, retry_after_s=60)

    status, output, errors = ask("file", MODEL, "config.json")

    assert (status, output) == (FAILED, b"")
    assert status_of(errors) == RESOURCE_EXHAUSTED
    assert "reason HUB_RATE_LIMITED" in errors
    (delay,) = [int(match[1]) for line in errors
                if (match := re.fullmatch(r"retry after (\d+) ms", line))]
    assert 50000 < delay <= 60000


def test_a_call_ends_at_its_deadline(ask, hub):
    stall_downloads(hub)

    status, output, errors = ask("file", MODEL, "model.safetensors", seconds=2)

    assert (status, output) == (FAILED, b"")
    assert status_of(errors) == DEADLINE_EXCEEDED
    hub.release()


@pytest.mark.parametrize("name", ["model.safetensors", "empty.txt"])
def test_bytes_are_read_without_the_volume(ask, mount, name):
    mount.unlink()

    assert ask("read", MODEL, name) == (OK, FILES[name], [])


@pytest.mark.parametrize("language", ["python", "go"], indirect=True)
def test_the_server_is_asked_over_tls(language, serve_at, hub, mount, tmp_path):
    authority = Authority(tmp_path)
    cert, key = authority.issue("IP:127.0.0.1").put(tmp_path, "server")
    server = serve_at(tmp_path / "cache", hub.endpoint, credentials=grpc.ssl_channel_credentials(),
                      arguments=["--tls-cert", str(cert), "--tls-key", str(key)])
    over_tls, without = (Ask(language, server.address, mount) for _ in range(2))
    over_tls.environment["HUBCACHE_TLS_CA"] = str(authority.path)

    assert over_tls("read", MODEL, "config.json") == (OK, FILES["config.json"], [])
    status, output, errors = without("read", MODEL, "config.json", seconds=2)
    assert (status, output) == (FAILED, b"")
    assert status_of(errors) in (DEADLINE_EXCEEDED, UNAVAILABLE)


def test_the_manual_shows_the_examples():
    manual = (world.ROOT / "docs" / "clients.md").read_text()
    shown = re.findall(r"<!-- (\S+) -->\n```\w+\n(.*?)```", manual, re.DOTALL)
    assert {path.split("/")[2] for path, _ in shown} == {path.name for path in HERE.iterdir()
                                                         if path.is_dir() and path.name[0] not in "_."}
    for path, part in shown:
        assert part in (world.ROOT / path).read_text(), f"{path} is otherwise"
