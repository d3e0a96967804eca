# SPDX-License-Identifier: Apache-2.0
"""What a killed client leaves of a blob is nobody's but its own kind's: the real clients and
hubcached fetch the whole file beside each other's partial, `hf cache prune` removes ours."""

import pathlib
import re
import signal
import subprocess

import pytest

from content import BIG, BIG_FILES
from world import CLEAN, PATIENCE, incompletes, wait_until

NAME = "first.safetensors"
CONTENT = BIG_FILES[NAME]
HAD = 3 << 20


def only_partial(cache):
    (path,) = incompletes(cache)
    return pathlib.Path(path)


def look_at(path):
    """What changes when somebody writes to a file, or puts another in its place."""
    info = path.stat()
    return info.st_ino, info.st_size, info.st_mtime_ns


def assert_fetched_whole(hub):
    """By the only request, which asked for no part."""
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
    process.communicate(timeout=PATIENCE)
    with open(reader):
        pass
    forget_the_stall(stalled)
    return only_partial(cache)


def prune(oracle, cache):
    program = pathlib.Path(oracle.python).with_name("hf")
    subprocess.run([program, "cache", "prune", "--yes", "--cache-dir", str(cache)], check=True,
                   timeout=PATIENCE, capture_output=True, env=CLEAN | {"HOME": "/nonexistent"})


def test_our_partial_has_a_name_of_its_own(ours):
    assert re.fullmatch(r"[0-9a-f]{64}\.[0-9a-f]{8}\.incomplete", ours.name)


def test_the_real_client_neither_uses_nor_touches_our_partial(oracle, hub, cache, ours):
    before = look_at(ours)

    path = oracle("hf_hub_download", repo_id=BIG, filename=NAME, cache_dir=str(cache),
                  endpoint=hub.endpoint)

    assert pathlib.Path(path).read_bytes() == CONTENT
    assert_fetched_whole(hub)
    assert look_at(ours) == before


def test_we_sweep_our_partial_when_the_real_client_has_brought_the_blob(oracle, hub, serve, cache,
                                                                        ours):
    path = oracle("hf_hub_download", repo_id=BIG, filename=NAME, cache_dir=str(cache),
                  endpoint=hub.endpoint)
    hub.clear_log()

    file = serve(cache, hub.endpoint).file(BIG, NAME)

    assert file.path == path
    assert hub.gets() == []
    assert not ours.exists()


def test_prune_removes_our_partial_and_we_start_anew(oracle, hub, serve, cache, ours):
    prune(oracle, cache)
    assert not ours.exists()

    file = serve(cache, hub.endpoint).file(BIG, NAME)

    assert pathlib.Path(file.path).read_bytes() == CONTENT
    assert_fetched_whole(hub)
    assert incompletes(cache) == []


def test_prune_in_mid_flight_costs_a_fetch_and_no_more(oracle, stalled, serve, cache):
    server = serve(cache, stalled.endpoint)
    call = server.start("ResolveFile", repo_id=BIG, filename=NAME)
    wait_until(lambda: incompletes(cache) and only_partial(cache).stat().st_size == HAD,
               "the bytes before the stall")

    prune(oracle, cache)
    stalled.clear_rules()
    stalled.release()

    assert pathlib.Path(call.result().file.path).read_bytes() == CONTENT
    assert incompletes(cache) == []


def test_we_neither_use_nor_touch_their_partial(hub, serve, cache, theirs):
    before = look_at(theirs)

    file = serve(cache, hub.endpoint).file(BIG, NAME)

    assert pathlib.Path(file.path).read_bytes() == CONTENT
    assert_fetched_whole(hub)
    assert look_at(theirs) == before
