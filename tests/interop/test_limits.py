# SPDX-License-Identifier: Apache-2.0
"""The limits of one HTTP/2 client: the memory of requests that are not whole, and headers. Some
clients here write their own frames, since no gRPC client sends such requests."""

import contextlib
import resource
import socket
import struct

import grpc
import pytest

from content import MODEL
from frames import END_HEADERS, END_STREAM, HEADERS, PREFACE, Unfinished, frame, pump_all, \
    request_headers
from world import TIMEOUT, hubcache, wait_until


def message_of_names(size):
    """A ResolveFilesRequest with its gRPC prefix, as a view."""
    name = b"\x22\x08abcdefgh"  # filenames
    return memoryview(struct.pack(">BI", 0, size) + name * (size // len(name) - 2))


def peak_memory(server):
    with open(f"/proc/{server.process.pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


@pytest.mark.parametrize("connections", [1, 15])
def test_requests_that_are_not_whole_take_bounded_memory(connections, serve, quiet_hub, cache):
    server = serve(cache, quiet_hub.endpoint)
    server.file(MODEL, "config.json")
    before = peak_memory(server)
    message = message_of_names(4_000_000)
    clients = [Unfinished(server.address, 150 // connections, message)
               for _ in range(connections)]

    pump_all(clients, TIMEOUT, lambda: sum(client.sent for client in clients) >= 400_000_000)

    assert sum(client.sent for client in clients) > 150_000_000
    assert peak_memory(server) - before < 250_000_000  # 192 MiB, and the overhead of malloc
    during = hubcache("file", MODEL, "config.json", server=server)
    for client in clients:
        client.close()
    # gRPC 1.51 ends those requests, the current one other calls too, as long as they last:
    # LIMITS in hubcached(8).
    assert during.returncode == 0 or "with status 8" in during.stderr, during.stderr
    wait_until(lambda: hubcache("file", MODEL, "config.json", server=server).returncode == 0,
               "an answer after the requests")


def test_idle_connections_leave_memory_for_calls(serve, quiet_hub, cache):
    server = serve(cache, quiet_hub.endpoint)
    server.file(MODEL, "config.json")
    host, port = server.address.split(":")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(4000, hard - 500)  # 4096 are allowed
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection((host, int(port)), timeout=TIMEOUT))
                for _ in range(count)]
        for connection in idle:
            connection.sendall(PREFACE)
        assert all(connection.recv(1) for connection in idle)

        answers = [hubcache("file", MODEL, "config.json", server=server) for _ in range(3)]

        assert [answer.returncode for answer in answers] == [0, 0, 0], answers[0].stderr
        server.file(MODEL, "config.json")  # over the connection that was idle for longest
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_request_that_is_cut_is_refused(serve, quiet_hub, cache):
    server = serve(cache, quiet_hub.endpoint)
    host, port = server.address.split(":")
    with socket.create_connection((host, int(port)), timeout=TIMEOUT) as connection:
        connection.sendall(
            PREFACE + frame(HEADERS, END_HEADERS, 1, request_headers("ResolveFile"))
            + frame(0, END_STREAM, 1, struct.pack(">BI", 0, 100) + b"\x0a\x04org/"))
        got = b""
        while b"grpc-message" not in got:
            data = connection.recv(65536)
            assert data, got
            got += data

    assert b"grpc-status\x013" in got or b"grpc-status\x0213" in got, got
    wait_until(lambda: "before its request was whole" in server.log(), "a line of the log")


@pytest.mark.parametrize("size", [8_000, 17_000, 60_000])
def test_a_large_header_harms_no_other_call_of_its_connection(size, serve, quiet_hub, cache):
    server = serve(cache, quiet_hub.endpoint)
    watch = server.channel.unary_stream("/grpc.health.v1.Health/Watch",
                                        request_serializer=bytes, response_deserializer=bytes)
    neighbour = watch(b"")
    next(neighbour)

    answer = server.GetServerInfo(metadata=[("x-large", "a" * size)])

    assert answer.cache_id
    assert neighbour.is_active()
    neighbour.cancel()


def test_a_header_beyond_the_limit_is_refused(serve, quiet_hub, cache):
    server = serve(cache, quiet_hub.endpoint)

    with pytest.raises(grpc.RpcError) as failure:
        server.GetServerInfo(metadata=[("x-large", "a" * 70_000)])

    assert failure.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "metadata size exceeds" in failure.value.details()
