# SPDX-License-Identifier: Apache-2.0
"""Only clients of the same kind use the partial file of a killed client: the real clients and
hubcached fetch the whole file beside each other's partial files, and `hf cache prune` removes
hubcached's."""

import pathlib
import re
import signal
import subprocess

import pytest

from content import BIG, BIG_FILES
from world import CLEAN, TIMEOUT, incompletes, wait_until

NAME = "first.safetensors"
CONTENT = BIG_FILES[NAME]
HAD = 3 << 20


def only_partial(cache):
    (path,) = incompletes(cache)
    return pathlib.Path(path)


def look_at(path):
    """The properties that change when a file is written to or replaced."""
    info = path.stat()
    return info.st_ino, info.st_size, info.st_mtime_ns


def assert_fetched_whole(hub):
    """Whether there was one request for bytes, without a range."""
    (request,) = hub.gets()
    assert (request.range, request.bytes) == ("-", len(CONTENT))


@pytest.fixture
def stalled(hub):
    """The first answer of the CDN stops after HAD bytes."""
    hub.rule("stall", on_cdn=True, method="GET", times=1, number=HAD)
    return hub


def forget_the_stall(hub):
    hub.clear_rules()
    hub.release()
    hub.clear_log()


@pytest.fixture
def ours(stalled, serve, cache):
    """The partial of a hubcached that was killed."""
    server = serve(cache, stalled.endpoint)
    call = server.start("ResolveFile", repo_id=BIG, filename=NAME)
    wait_until(lambda: incompletes(cache) and only_partial(cache).stat().st_size == HAD,
               "the bytes before the stall")
    assert not call.done()
    server.kill()
    forget_the_stall(stalled)
    return only_partial(cache)


@pytest.fixture
def theirs(oracle, stalled, cache):
    """The partial of a real client that was killed."""
    process, reader = oracle.start(
        ("hf_hub_download", {"repo_id": BIG, "filename": NAME, "cache_dir": str(cache)}),
        endpoint=stalled.endpoint)
    stalled.await_stall()
    wait_until(lambda: incompletes(cache), "a partial")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=TIMEOUT)
    with open(reader):
        pass
    forget_the_stall(stalled)
    return only_partial(cache)


def prune(oracle, cache):
    program = pathlib.Path(oracle.python).with_name("hf")
    subprocess.run([program, "cache", "prune", "--yes", "--cache-dir", str(cache)], check=True,
                   timeout=TIMEOUT, capture_output=True, env=CLEAN | {"HOME": "/nonexistent"})


def test_a_partial_file_of_hubcached_has_a_name_of_its_own(ours):
    assert re.fullmatch(r"[0-9a-f]{64}\.[0-9a-f]{8}\.incomplete", ours.name)


def test_the_real_client_leaves_hubcacheds_partial_file_alone(oracle, hub, cache, ours):
    before = look_at(ours)

    path = oracle("hf_hub_download", repo_id=BIG, filename=NAME, cache_dir=str(cache),
                  endpoint=hub.endpoint)

    assert pathlib.Path(path).read_bytes() == CONTENT
    assert_fetched_whole(hub)
    assert look_at(ours) == before


def test_hubcached_sweeps_its_partial_file_of_a_blob_that_is_there(oracle, hub, serve, cache,
                                                                   ours):
    path = oracle("hf_hub_download", repo_id=BIG, filename=NAME, cache_dir=str(cache),
                  endpoint=hub.endpoint)
    hub.clear_log()

    file = serve(cache, hub.endpoint).file(BIG, NAME)

    assert file.path == path
    assert hub.gets() == []
    assert not ours.exists()


def test_hubcached_starts_over_when_prune_removed_its_partial_file(oracle, hub, serve, cache,
                                                                   ours):
    prune(oracle, cache)
    assert not ours.exists()

    file = serve(cache, hub.endpoint).file(BIG, NAME)

    assert pathlib.Path(file.path).read_bytes() == CONTENT
    assert_fetched_whole(hub)
    assert incompletes(cache) == []


def test_prune_during_a_download_costs_one_more_fetch(oracle, stalled, serve, cache):
    server = serve(cache, stalled.endpoint)
    call = server.start("ResolveFile", repo_id=BIG, filename=NAME)
    wait_until(lambda: incompletes(cache) and only_partial(cache).stat().st_size == HAD,
               "the bytes before the stall")

    prune(oracle, cache)
    stalled.clear_rules()
    stalled.release()

    assert pathlib.Path(call.result().file.path).read_bytes() == CONTENT
    assert incompletes(cache) == []


def test_hubcached_leaves_the_real_clients_partial_file_alone(hub, serve, cache, theirs):
    before = look_at(theirs)

    file = serve(cache, hub.endpoint).file(BIG, NAME)

    assert pathlib.Path(file.path).read_bytes() == CONTENT
    assert_fetched_whole(hub)
    assert look_at(theirs) == before
