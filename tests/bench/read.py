# SPDX-License-Identifier: Apache-2.0
"""Bytes through the server: `tests/bench/run read`. ReadFile of hubcached beside servers in Go
(grpc-go) and Rust (tonic) that stream the same file with the same proto (read/), and beside curl
from nginx. Two clients read from each: h2load, which drops what arrives, so that the server is
what is measured; and `hubcache cat`, which verifies the hash."""

import argparse
import contextlib
import dataclasses
import os
import pathlib
import re
import statistics
import subprocess
import time

import grpc

from figures import (MIB, Failed, cpu_of, measure, peak_of, server_named, status_of, table,
                     temp_dir)
from large import make_file
from storage import Storage, demand_programs
import world

REPO, NAME, COMMIT = "bench/read", "file.bin", "9" * 40
PEERS = {"go": "grpc-go", "rust": "tonic"}
BUILD_TIME = 900  # seconds
STALLED, LOOK, SETTLED = 100, 0.2, 5  # clients, seconds between looks, looks without a change
NEEDED = {"nginx": "nginx-light", "curl": "curl", "h2load": "nghttp2-client",
          "openssl": "openssl"}
WINDOWS = ["-w", "24", "-W", "26"]  # 16 MiB a stream, 64 MiB a connection


def field(number, value):
    """Of less than 128 bytes."""
    return bytes([number << 3 | 2, len(value)]) + value


def request_body():
    """A gRPC message: the ReadFileRequest for the whole file."""
    message = field(1, field(1, REPO.encode()) + field(4, NAME.encode()))
    return b"\0" + len(message).to_bytes(4, "big") + message


def make_cache(root, source, digest):
    """A cache that has the one file, whose blob is a link to `source`."""
    repo = root / "models--bench--read"
    for folder in ("blobs", "refs", f"snapshots/{COMMIT}"):
        (repo / folder).mkdir(parents=True)
    (repo / "refs/main").write_text(COMMIT)
    os.link(source, repo / "blobs" / digest)
    (repo / "snapshots" / COMMIT / NAME).symlink_to(f"../../blobs/{digest}")


# --- servers -------------------------------------------------------------------------------


class Process:
    """A server that prints where it listens."""

    def __init__(self, command):
        self.process = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True,
                                        env=world.CLEAN)
        self.address = self.process.stdout.readline().split()[1]

    def cpu(self):
        return cpu_of(self.process.pid)

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


def build_peer(language):
    try:
        subprocess.run([pathlib.Path(__file__).parent / "read/build", language], check=True,
                       capture_output=True, text=True, timeout=BUILD_TIME)
    except (OSError, subprocess.SubprocessError) as error:
        raise Failed(f"{PEERS[language]} does not build here: {error}") from error
    return world.ROOT / "build/bench-read" / language / "read-server"


def commands(options, cache, path, digest):
    """{name: command} of the servers that are measured."""
    found = {name: [binary, "--cache-dir", cache, "--offline", "--listen", "127.0.0.1:0",
                    "--log-level", "error"] for name, binary in options.servers.items()}
    for language in options.peers:
        try:
            binary = build_peer(language)
        except Failed as failure:
            print(f"  not measured: {failure}")
            continue
        for chunk in options.chunks:
            found[f"{PEERS[language]}, {chunk // 1024} KiB"] = [binary, path, digest, COMMIT,
                                                                chunk]
    return found


@contextlib.contextmanager
def serving(command):
    server = Process(command)
    try:
        yield server
    finally:
        server.stop()


# --- clients -------------------------------------------------------------------------------


def at_once(command, streams):
    """A command line that runs `streams` of it side by side, and fails if one fails."""
    return ["bash", "-c", f"for n in $(seq {streams}); do {command} >/dev/null & pids+=($!); done;"
                          " for pid in ${pids[@]}; do wait $pid || exit 1; done"]


def h2load(options, address, streams, size):
    got = measure(["h2load", "-n", streams, "-c", streams, "-m", "1", "-t", "1", *WINDOWS,
                   "-d", options.body, "-H", "te: trailers", "-H",
                   "content-type: application/grpc",
                   f"http://{address}/hubcache.v1.Resolver/ReadFile"])
    data = int(re.search(r"\((\d+)\) data", got.output)[1])
    assert data >= streams * size and " 0 failed" in got.output, got.output
    return got


def cat(options, address, streams, size):
    del size  # the client fails when bytes are missing
    return measure(at_once(f"{options.client} --server {address} cat {REPO} {NAME}", streams))


CLIENTS = {"h2load": h2load, "hubcache cat": cat}


# --- rates ---------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Figures:
    rate: float  # GB/s
    server_cpu: float  # seconds a GB
    client_cpu: float


def figures_of(server_cpu, run, streams, size):
    """Of one run; `server_cpu` tells the processor seconds of the server so far."""
    before = server_cpu()
    cost = run()
    gigabytes = streams * size / 1e9
    return Figures(gigabytes / cost.wall, (server_cpu() - before) / gigabytes,
                   cost.cpu / gigabytes)


def row(name, found, first, peak):
    rates = [each.rate for each in found]
    ratios = [one.rate / other.rate for one, other in zip(found, first)]
    return [name, f"{statistics.median(rates):.2f}", f"{min(rates):.2f}-{max(rates):.2f}",
            f"{statistics.median(ratios):.2f}",
            f"{statistics.median(each.server_cpu for each in found):.2f}",
            f"{statistics.median(each.client_cpu for each in found):.2f}", peak]


def rates_of(options, ways, streams):
    """A table of `ways`, {name: (server_cpu, run, peak)}; each runs once in each round."""
    found = {name: [] for name in ways}
    for number in range(options.rounds + 1):  # the first one warms up
        for name, (server_cpu, run, _) in ways.items():
            figures = figures_of(server_cpu, run, streams, options.size * MIB)
            if number > 0:
                found[name].append(figures)
    first = found[next(iter(found))]
    return [row(name, each, first, ways[name][2]()) for name, each in found.items()]


def rates(options, world_of):
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(serving(command))
                   for name, command in world_of.commands.items()}
        for streams in options.streams:
            size = options.size * MIB
            for client in options.clients:
                ways = {f"{name}: {client}": (
                    server.cpu,
                    lambda address=server.address: CLIENTS[client](options, address, streams,
                                                                   size),
                    lambda pid=server.process.pid: f"{peak_of(pid):.0f}")
                    for name, server in servers.items()}
                url = world_of.storage.url("plain", "file")
                ways["nginx: curl"] = (world_of.storage.cpu,
                                       lambda: measure(at_once(f"curl -sSf {url}", streams)),
                                       lambda: "")
                table(f"{streams} at a time, {options.size} MiB each, {client} (median of "
                      f"{options.rounds} rounds)",
                      ["", "GB/s", "from-to", "of the first", "server CPU s/GB",
                       "client CPU s/GB", "server's peak MiB"],
                      rates_of(options, ways, streams))


# --- clients that stall --------------------------------------------------------------------


def settled_rss(pid):
    """KiB, when it has not grown for a while."""
    last, same = 0, 0
    while same < SETTLED:
        time.sleep(LOOK)
        now = status_of(pid, "VmRSS")
        same = same + 1 if now <= last else 0
        last = max(last, now)
    return last


def start_stalled(pb, address, number):
    """A client of its own that takes the first message and no other."""
    channel = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1),
                                              ("grpc.max_receive_message_length", -1)])
    request = pb.ReadFileRequest(file=pb.ResolveFileRequest(repo_id=REPO, filename=NAME))
    call = pb.grpc.ResolverStub(channel).ReadFile(
        request, metadata=[("authorization", f"Bearer client-{number}")])
    next(call)
    return channel, call


def stalled(options, world_of):
    rows = []
    for name, command in world_of.commands.items():
        with serving(command) as server:
            pid = server.process.pid
            CLIENTS["h2load"](options, server.address, 1, options.size * MIB)
            before = settled_rss(pid)
            held = [start_stalled(options.pb, server.address, n) for n in range(STALLED)]
            after = settled_rss(pid)
            rows.append([name, f"{before / 1024:.1f}", f"{after / 1024:.1f}",
                         f"{(after - before) / STALLED:.0f}", status_of(pid, "Threads")])
            for channel, call in held:
                call.cancel()
                channel.close()
    table(f"{STALLED} clients that stall after the first message",
          ["", "RSS MiB before", "with them", "KiB each", "threads"], rows)


# --- the command ---------------------------------------------------------------------------

PARTS = {"rates": rates, "stalled": stalled}


@dataclasses.dataclass(frozen=True)
class World:
    storage: Storage
    commands: dict


def numbers(text):
    return [int(number) for number in text.split(",")]


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/run read", description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), metavar="PART,...",
                        help=f"of {', '.join(PARTS)}")
    parser.add_argument("--server", action="append", type=server_named, metavar="[NAME=]PATH",
                        help="a hubcached; repeat it to compare several in one run")
    parser.add_argument("--client", default=world.program("hubcache"), metavar="PATH")
    parser.add_argument("--clients", default=",".join(CLIENTS), metavar="CLIENT,...")
    parser.add_argument("--peers", default=",".join(PEERS), metavar="LANGUAGE,...",
                        help="'' for none")
    parser.add_argument("--chunks", type=numbers, default=[65536, 262144, 1048576],
                        metavar="BYTES,...", help="of a message of the peers")
    parser.add_argument("--streams", type=numbers, default=[1, 4], metavar="N,...")
    parser.add_argument("--size", type=int, default=2048, metavar="MIB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", default="/dev/shm", help="for the file, in memory")
    options = parser.parse_args()
    options.servers = dict(options.server or [("hubcached", world.program("hubcached"))])
    options.clients = options.clients.split(",")
    options.peers = [peer for peer in options.peers.split(",") if peer]
    demand_programs(NEEDED)
    with temp_dir(options.dir) as folder, Storage(folder) as storage:
        options.pb = world.make_stubs(folder)
        options.body = folder / "request"
        options.body.write_bytes(request_body())
        digest = make_file(storage.www / "file", options.size * MIB)
        make_cache(folder / "cache", storage.www / "file", digest)
        found = World(storage, commands(options, folder / "cache", storage.www / "file", digest))
        print(f"{os.cpu_count()} processors for clients and servers")
        for part in options.only.split(","):
            PARTS[part](options, found)


if __name__ == "__main__":
    main()
