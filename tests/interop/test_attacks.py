# SPDX-License-Identifier: Apache-2.0
"""What hostile clients (hostile.py) leave behind: a server that answers, with the descriptors that
it had before, and that has taken a bounded amount of memory. tests/bench/run attacks measures
what an attack costs."""

import os

import grpc
import pytest

import hostile
from content import MODEL
from test_limits import peak_memory
from world import TIMEOUT, Hub, wait_until

SECONDS = 0.3
MEMORY_MAX = 400 << 20  # less than harms a machine


@pytest.fixture(scope="module")
def attacked_hub():
    with Hub() as hub:
        hub.control("add-made-up", b"", path=hostile.LARGE, size=32 << 20, seed=1, lfs=1)
        hub.commit(f"models/{hostile.REPO}", {"config.json": b"{}"})
        yield hub


def descriptors(server):
    """Without --allow-core-dumps only root may look."""
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def answers(server):
    """The current gRPC refuses calls for a moment, until the attacker's memory is free."""
    try:
        return server.file(hostile.REPO, "config.json").size_bytes == 2
    except grpc.RpcError:
        return False


@pytest.mark.parametrize("name", sorted(hostile.ATTACKS.keys() - {hostile.BOMB}))
def test_an_attack_leaves_nothing_behind(name, serve, attacked_hub, cache):
    server = serve(cache, attacked_hub.endpoint, arguments=["--allow-core-dumps"])
    server.file(hostile.REPO, hostile.LARGE)
    server.file(hostile.REPO, "config.json")
    before, memory = descriptors(server), peak_memory(server)

    hostile.attack(name, server.address, SECONDS)

    wait_until(lambda: answers(server), "the server answers")
    wait_until(lambda: descriptors(server) <= before, "the attacker's descriptors are closed")
    assert peak_memory(server) - memory < MEMORY_MAX


def test_rapid_reset_takes_bounded_memory_and_ends(serve, attacked_hub, cache):
    server = serve(cache, attacked_hub.endpoint)
    server.file(hostile.REPO, "config.json")
    memory = peak_memory(server)

    hostile.attack("rapid reset", server.address, 4)

    wait_until(lambda: answers(server), "the server answers")
    assert peak_memory(server) - memory < MEMORY_MAX


def test_a_message_that_expands_takes_no_memory(serve, attacked_hub, cache):
    server = serve(cache, attacked_hub.endpoint)
    server.file(hostile.REPO, "config.json")
    memory = peak_memory(server)

    told = hostile.attack(hostile.BOMB, server.address, TIMEOUT)

    assert told["status 12"] == 4, told
    assert peak_memory(server) - memory < 50 << 20


def test_a_compressed_request_is_refused(serve, quiet_hub, cache):
    server = serve(cache, quiet_hub.endpoint)
    request = server.pb.ResolveFileRequest(repo_id=MODEL, filename="config.json")

    with pytest.raises(grpc.RpcError) as failure:
        server.stub.ResolveFile(request, timeout=TIMEOUT, compression=grpc.Compression.Gzip)

    assert failure.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert "gzip" in failure.value.details()
    assert server.file(MODEL, "config.json").commit_hash
