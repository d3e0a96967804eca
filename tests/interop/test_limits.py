# SPDX-License-Identifier: Apache-2.0
"""The limits of one HTTP/2 client: the memory of requests that are not whole, and headers. The
client here writes its own frames, since no gRPC client sends such requests."""

import contextlib
import select
import socket
import struct
import time

import grpc
import pytest

from content import MODEL
from world import TIMEOUT, hubcache, wait_until

HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 1, 3, 4, 6, 7, 8
ACK, END_STREAM, END_HEADERS = 1, 1, 4


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + \
        struct.pack(">I", stream) + payload


def header(name, value):
    """A literal without indexing."""
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def request_headers(method):
    return b"".join(header(name, value) for name, value in {
        ":method": "POST", ":scheme": "http", ":authority": "here",
        ":path": "/hubcache.v1.Resolver/" + method, "te": "trailers",
        "content-type": "application/grpc"}.items())


def message_of_names(size):
    """A ResolveFilesRequest with its gRPC prefix, as a view."""
    name = b"\x22\x08abcdefgh"  # filenames
    return memoryview(struct.pack(">BI", 0, size) + name * (size // len(name) - 2))


class Unfinished:
    """Sends `count` requests that say they have the size of the whole message, and all of it but
    the last 20 bytes, as far as the server's windows let it."""

    def __init__(self, address, count, message):
        host, port = address.split(":")
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setblocking(False)
        self.outgoing = bytearray(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0))
        self.incoming = bytearray()
        self.window, self.initial, self.is_over, self.sent = 65535, 65535, False, 0
        self.left = {1 + 2 * i: message for i in range(count)}
        self.windows = dict.fromkeys(self.left, 0)
        for stream in self.left:
            self.outgoing += frame(HEADERS, END_HEADERS, stream, request_headers("ResolveFiles"))

    def take(self, kind, flags, stream, payload):
        if kind == SETTINGS and not flags & ACK:
            for key, value in struct.iter_unpack(">HI", payload):
                self.initial = value if key == 4 else self.initial
            self.outgoing += frame(SETTINGS, ACK, 0)
        elif kind == PING and not flags & ACK:
            self.outgoing += frame(PING, ACK, 0, payload)
        elif kind == WINDOW_UPDATE and stream == 0:
            self.window += int.from_bytes(payload, "big")
        elif kind == WINDOW_UPDATE and stream in self.windows:
            self.windows[stream] += int.from_bytes(payload, "big")
        elif kind == RST_STREAM or (kind == HEADERS and flags & END_STREAM):
            self.left.pop(stream, None)

    def receive(self):
        with contextlib.suppress(BlockingIOError):
            while data := self.socket.recv(65536):
                self.incoming += data
            self.is_over = True
        while len(self.incoming) >= 9:
            end = 9 + int.from_bytes(self.incoming[:3], "big")
            if len(self.incoming) < end:
                return
            stream = int.from_bytes(self.incoming[5:9], "big") & 0x7fffffff
            self.take(self.incoming[3], self.incoming[4], stream, bytes(self.incoming[9:end]))
            del self.incoming[:end]

    def send(self):
        for stream in list(self.left) if len(self.outgoing) < 1 << 20 else []:
            size = min(16384, self.window, self.initial + self.windows[stream])
            part = self.left[stream][:max(size, 0)]
            if not part:
                continue
            self.outgoing += frame(0, 0, stream, part)
            self.left[stream] = self.left[stream][len(part):]
            self.window -= len(part)
            self.windows[stream] -= len(part)
            self.sent += len(part)
        with contextlib.suppress(BlockingIOError):
            del self.outgoing[:self.socket.send(self.outgoing)]

    def pump(self):
        """Makes the progress that is possible now; false when there is none left to make."""
        try:
            self.receive()
            self.send()
        except OSError:
            self.is_over = True
        return not self.is_over and any(self.left.values())


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
    end = time.monotonic() + TIMEOUT

    while any([client.pump() for client in clients]) and time.monotonic() < end and \
            sum(client.sent for client in clients) < 150_000_000:
        select.select([client.socket for client in clients if not client.is_over], [], [], 0.01)

    assert sum(client.sent for client in clients) > 64_000_000
    assert peak_memory(server) - before < 100_000_000  # 64 MiB, and the overhead of malloc
    assert hubcache("file", MODEL, "config.json", server=server).returncode == 0
    for client in clients:
        client.socket.close()


def test_a_request_that_is_cut_is_refused(serve, quiet_hub, cache):
    server = serve(cache, quiet_hub.endpoint)
    host, port = server.address.split(":")
    with socket.create_connection((host, int(port)), timeout=TIMEOUT) as connection:
        connection.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0)
            + frame(HEADERS, END_HEADERS, 1, request_headers("ResolveFile"))
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
    assert "metadata size exceeds limit" in failure.value.details()
