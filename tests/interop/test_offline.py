# SPDX-License-Identifier: Apache-2.0
"""Offline, hubcached opens no socket towards the Hub: the Hub's log stays empty, and strace sees
no connect() to it. What is cached is answered; what is not names file, repo, revision and
the way out."""

import shutil
import socket

import pytest

from content import MODEL
from world import fails_with, hubcache

WAYS = {
    "HF_HUB_OFFLINE": {"environment": {"HF_HUB_OFFLINE": "1"}},
    "TRANSFORMERS_OFFLINE": {"environment": {"TRANSFORMERS_OFFLINE": "1"}},
    "--offline": {"arguments": ["--offline"]},
    "local_files_only": {},
}


def connections(trace):
    """Lines of a trace that connect to anything but a Unix socket."""
    return [line for line in trace.read_text().splitlines()
            if "connect(" in line and "AF_UNIX" not in line]


@pytest.fixture
def traced(hub, serve, cache, tmp_path):
    """traced(way) is (server, trace) with one file in the cache already."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    filler = serve(cache, hub.endpoint)
    filler.file(MODEL, "config.json")
    filler.stop()
    hub.clear_log()
    trace = tmp_path / "trace"

    def start(way):
        # With -D hubcached stays the child of this process, and the tracer is its grandchild.
        return serve(cache, hub.endpoint, before=[
            "strace", "-D", "-f", "-qq", "-e", "trace=connect", "-o", str(trace)], **way), trace

    return start


def options(way):
    return {"local_files_only": way == "local_files_only"}


@pytest.mark.parametrize("way", WAYS)
def test_no_socket_is_opened_towards_the_hub(way, traced, hub):
    server, trace = traced(WAYS[way])

    file = server.ResolveFile(repo_id=MODEL, filename="config.json", options=options(way)).file
    with fails_with("NOT_CACHED"):
        server.ResolveFile(repo_id=MODEL, filename="README.md", options=options(way))
    with fails_with("NOT_CACHED"):
        server.ResolveFile(repo_id="org/other", filename="x", options=options(way))
    server.ResolveSnapshot(repo_id=MODEL, options=options(way))
    with fails_with("NOT_CACHED"):
        server.ResolveSnapshot(repo_id="org/other", options=options(way))
    assert server.stop() == 0

    assert file.source == 1
    assert hub.log() == []
    assert connections(trace) == []


def test_online_the_trace_does_show_the_connection(traced, hub):
    server, trace = traced({})

    server.file(MODEL, "README.md")
    server.stop()

    port = hub.endpoint.rsplit(":", 1)[1]
    assert any(port in line for line in connections(trace))


@pytest.mark.parametrize("way", WAYS)
def test_the_error_names_the_request_and_the_next_step(way, hub, serve, cache):
    server = serve(cache, hub.endpoint, **WAYS[way])

    with fails_with("NOT_CACHED") as failure:
        server.ResolveFile(repo_id=MODEL, filename="nested/x.bin", revision="v2",
                           options=options(way))

    for word in (MODEL, "nested/x.bin", "v2"):
        assert word in failure.message, failure.message
    way_out = "local_files_only" if way == "local_files_only" else "offline"
    assert way_out in failure.message.lower(), failure.message
    assert failure.metadata == {"repo_id": MODEL, "repo_type": "model", "revision": "v2",
                                "filename": "nested/x.bin"}


def test_the_command_prints_the_error_and_exits_with_3(hub, serve, cache):
    server = serve(cache, hub.endpoint, arguments=["--offline"])

    result = hubcache("file", MODEL, "config.json", server=server)

    assert (result.returncode, result.stdout) == (3, "")
    assert MODEL in result.stderr and "config.json" in result.stderr


def test_a_hub_that_is_gone_is_not_the_same_as_offline(serve, cache, newest):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        server = serve(cache, endpoint)

        with fails_with("HUB_UNREACHABLE"):
            server.ResolveFile(repo_id=MODEL, filename="config.json", timeout=60)
