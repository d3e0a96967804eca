# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 frames written by hand, for clients that no gRPC library would be: the parts of a frame,
and a connection that obeys only as much of the protocol as its class does."""

import contextlib
import re
import select
import socket
import ssl
import struct
import time

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = \
    0, 1, 3, 4, 6, 7, 8, 9
ACK, END_STREAM, END_HEADERS = 1, 1, 4
INITIAL_WINDOW_SIZE = 4  # of SETTINGS
ERRORS = ("NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR",
          "SETTINGS_TIMEOUT", "STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL",
          "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY",
          "HTTP_1_1_REQUIRED")
FRAME_MAX = 16384  # of a payload, as long as SETTINGS say nothing else
OUTGOING_MAX = 1 << 18


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + \
        struct.pack(">I", stream) + payload


MAGIC = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PREFACE = MAGIC + frame(SETTINGS, 0, 0)


def setting(key, value):
    return struct.pack(">HI", key, value)


def text_of(value):
    """HPACK's string, without Huffman's code."""
    if len(value) < 127:
        return bytes([len(value)]) + value.encode()
    left, digits = len(value) - 127, []
    while left >= 128:
        digits.append(left % 128 | 128)
        left //= 128
    return bytes([127, *digits, left]) + value.encode()


def header(name, value, first=b"\0"):
    """A literal: without indexing, or with it if `first` is 0x40."""
    return first + text_of(name) + text_of(value)


def headers_of(method, **more):
    return {":method": "POST", ":scheme": "http", ":authority": "here",
            ":path": "/hubcache.v1.Resolver/" + method, "te": "trailers",
            "content-type": "application/grpc"} | \
        {name.replace("_", "-"): value for name, value in more.items()}


def request_headers(method, **more):
    return b"".join(header(*each) for each in headers_of(method, **more).items())


def indexed_headers(method):
    """(of the connection's first request, of each that follows, which has a byte a header)"""
    headers = headers_of(method)
    return (b"".join(header(*each, first=b"\x40") for each in headers.items()),
            bytes(0x80 | 61 + len(headers) - n for n in range(len(headers))))


def message(content, flags=0):
    """With its gRPC prefix."""
    return struct.pack(">BI", flags, len(content)) + content


WOULD_BLOCK = BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError


class Connection:
    """Sends what is in `outgoing`, to which more() adds, and notes what the server answers."""

    answers_server = True  # acknowledges SETTINGS and PING

    def __init__(self, address):
        self.socket = self.connect(address)
        self.socket.setblocking(False)
        self.outgoing, self.incoming = bytearray(self.opening()), bytearray()
        self.is_over, self.sent = False, 0
        self.told = []  # names, in order of arrival

    def connect(self, address):
        host, port = address.rsplit(":", 1)
        return socket.create_connection((host, int(port)), timeout=10)

    def opening(self):
        return PREFACE

    def more(self):
        """Called while `outgoing` is short."""

    def note(self, kind, flags, payload):
        if kind == GOAWAY:
            code = int.from_bytes(payload[4:8], "big")
            self.told.append(f"GOAWAY {ERRORS[code]} {payload[8:].decode(errors='replace')}"
                             .rstrip())
        elif kind == RST_STREAM:
            self.told.append(f"RST_STREAM {ERRORS[int.from_bytes(payload, 'big')]}")
        elif kind == HEADERS and (status := re.search(rb"grpc-status[\1\2](\d+)", payload)):
            self.told.append(f"status {status[1].decode()}")

    def take(self, kind, flags, stream, payload):
        self.note(kind, flags, payload)
        if self.answers_server and kind in (SETTINGS, PING) and not flags & ACK:
            self.outgoing += frame(kind, ACK, 0, payload if kind == PING else b"")

    def receive(self):
        with contextlib.suppress(*WOULD_BLOCK):
            while data := self.socket.recv(65536):
                self.incoming += data
            self.end("closed")
        start = 0
        while len(self.incoming) >= start + 9:
            head = self.incoming[start:start + 9]
            end = start + 9 + int.from_bytes(head[:3], "big")
            if len(self.incoming) < end:
                break
            self.take(head[3], head[4], int.from_bytes(head[5:], "big") & 0x7fffffff,
                      bytes(self.incoming[start + 9:end]))
            start = end
        del self.incoming[:start]

    def send(self):
        if len(self.outgoing) < OUTGOING_MAX:
            self.more()
        with contextlib.suppress(*WOULD_BLOCK):
            size = self.socket.send(self.outgoing) if self.outgoing else 0
            self.sent += size
            del self.outgoing[:size]

    def end(self, how):
        self.is_over = True
        self.told.append(how)

    def pump(self):
        """Makes the progress that is possible now; false when the connection is over."""
        try:
            if not self.is_over:
                self.receive()
            if not self.is_over:
                self.send()
        except OSError as error:
            self.end("reset" if isinstance(error, ConnectionError) else str(error))
        return not self.is_over

    def close(self):
        self.socket.close()


def pump_all(connections, seconds, is_enough=lambda: False):
    """Until all are over, nothing is left to do, or the time has passed."""
    end = time.monotonic() + seconds
    while any([connection.pump() for connection in connections]) and not is_enough() and \
            time.monotonic() < end:
        wait_for(each for each in connections if not each.is_over)


def wait_for(connections):
    """Until one of them can make progress, and no longer than a moment."""
    poll = select.poll()  # select() knows descriptors below 1024 only
    for each in connections:
        poll.register(each.socket, select.POLLIN | (select.POLLOUT if each.outgoing else 0))
    poll.poll(10)


class Unfinished(Connection):
    """`count` requests, and of the message of each all that the server's windows allow, but
    never its end: `size` says that 20 bytes follow."""

    def __init__(self, address, count, content, **headers):
        self.window, self.initial = 65535, 65535
        self.left = {1 + 2 * i: content for i in range(count)}
        self.windows = dict.fromkeys(self.left, 0)
        self.headers = headers
        super().__init__(address)

    def opening(self):
        return PREFACE + b"".join(
            frame(HEADERS, END_HEADERS, stream, request_headers("ResolveFiles", **self.headers))
            for stream in self.left)

    def take(self, kind, flags, stream, payload):
        super().take(kind, flags, stream, payload)
        if kind == SETTINGS and not flags & ACK:
            for key, value in struct.iter_unpack(">HI", payload):
                self.initial = value if key == INITIAL_WINDOW_SIZE else self.initial
        elif kind == WINDOW_UPDATE and stream == 0:
            self.window += int.from_bytes(payload, "big")
        elif kind == WINDOW_UPDATE and stream in self.windows:
            self.windows[stream] += int.from_bytes(payload, "big")
        elif kind == RST_STREAM or (kind == HEADERS and flags & END_STREAM):
            self.left.pop(stream, None)

    def more(self):
        for stream in list(self.left):
            size = min(FRAME_MAX, self.window, self.initial + self.windows[stream])
            part = self.left[stream][:max(size, 0)]
            if not part:
                continue
            self.outgoing += frame(DATA, 0, stream, part)
            self.left[stream] = self.left[stream][len(part):]
            self.window -= len(part)
            self.windows[stream] -= len(part)

    def pump(self):
        return super().pump() and any(self.left.values())
