# SPDX-License-Identifier: Apache-2.0
"""What hostile clients cost: `tests/bench/run attacks`. Each attack (tests/interop/hostile.py) has a
server of its own, and a well-behaved client that asks for hits all the while. Everything is on
this machine, and ends by itself; an attack ends early when the server takes too much memory."""

import argparse
import contextlib
import os
import subprocess
import sys
import threading
import time

import grpc

from figures import MIB, peak_of, server_named, status_of, table, temp_dir
import hostile
import world

QUIET, RECOVERY = 1, 20  # seconds of measuring before the attack, and after it at most
LOOK = 0.02  # seconds between two looks at the server
DEADLINE = 10  # of a hit, in seconds
CONNECTIONS_MAX = 1500  # of one attack


class Client:
    """Asks for a file that the server has, one call at a time."""

    def __init__(self, server):
        self.server = server
        self.answered = [time.monotonic()]
        self.failures = []  # (time, code)
        self.must_end = threading.Event()
        self.thread = threading.Thread(target=self.ask)
        self.thread.start()

    def ask(self):
        request = self.server.pb.ResolveFileRequest(repo_id=hostile.REPO, filename="config.json")
        while not self.must_end.is_set():
            try:
                self.server.stub.ResolveFile(request, timeout=DEADLINE, wait_for_ready=True)
                self.answered.append(time.monotonic())
            except grpc.RpcError as error:
                self.failures.append((time.monotonic(), error.code().name))

    def end(self):
        self.must_end.set()
        self.thread.join()

    def span(self, start, end):
        """(answers a second, longest time without one in ms, failures) between two times."""
        times = [when for when in self.answered if start <= when <= end]
        gaps = [b - a for a, b in zip([start, *times], [*times, end])]
        return (len(times) / (end - start), max(gaps) * 1000,
                sum(start <= when <= end for when, _ in self.failures))


class State:
    """What the server holds."""

    def __init__(self, pid):
        self.rss = status_of(pid, "VmRSS") / 1024
        self.threads = status_of(pid, "Threads")
        self.descriptors = len(os.listdir(f"/proc/{pid}/fd"))


def attack(options, name, server):
    """What the attacker says of it. It is ended when the server has taken too much."""
    with subprocess.Popen([sys.executable, hostile.__file__, name, server.address,
                           str(options.seconds)], stdout=subprocess.PIPE, text=True) as attacker:
        end = time.monotonic() + options.seconds + world.TIMEOUT
        while attacker.poll() is None:
            if State(server.process.pid).rss > options.memory or time.monotonic() > end:
                attacker.kill()
                return [f"the attacker was stopped at {options.memory} MiB"]
            time.sleep(LOOK)
        return attacker.stdout.read().splitlines() or ["the attacker failed"]


def await_recovery(pid, idle, client):
    """After how many seconds it answers, and has no more descriptors than before."""
    start = time.monotonic()
    while time.monotonic() - start < RECOVERY:
        if State(pid).descriptors <= idle.descriptors and client.answered[-1] > start:
            return f"{time.monotonic() - start:.1f}"
        time.sleep(LOOK)
    return f"not in {RECOVERY}"


def measure(options, name, server):
    """The row of one attack, without its first cell."""
    pid = server.process.pid
    client = Client(server)
    start = time.monotonic()
    try:
        time.sleep(QUIET)
        idle, begin = State(pid), time.monotonic()
        told, end = attack(options, name, server), time.monotonic()
        recovery, recovered = await_recovery(pid, idle, client), time.monotonic()
        time.sleep(QUIET)
        after = State(pid)
    finally:
        client.end()
    before, during, later = (client.span(*each) for each in (
        (start, begin), (begin, end), (recovered, recovered + QUIET)))
    _, gap, failures = client.span(begin, recovered + QUIET)
    return [f"{idle.rss:.0f}", f"{peak_of(pid):.0f}", f"{after.rss:.0f}",
            *(f"{span[0]:,.0f}" for span in (before, during, later)),
            f"{before[1]:,.0f}", f"{gap:,.0f}", f"{failures}",
            f"{idle.threads}, {after.threads}", f"{idle.descriptors}, {after.descriptors}",
            recovery, told[0], *told[1:3]]


COLUMNS = ["", "RSS MiB: idle", "peak", "after", "hits/s: before", "during", "after",
           "gap ms: before", "then", "failed", "threads", "descriptors", "recovered s"]


@contextlib.contextmanager
def serving(options, binary, hub, folder):
    server = world.Server(options.pb, folder / "cache", hub.endpoint, binary=binary,
                          arguments=["--log-level", "error", "--max-staleness", "1h"])
    try:
        server.file(hostile.REPO, "config.json")
        server.file(hostile.REPO, hostile.LARGE)
        yield server
        if server.process.poll() is not None:
            print(f"the server ended with {server.process.returncode}: {server.log()}")
    finally:
        server.kill()


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/run attacks", description=__doc__)
    parser.add_argument("--only", metavar="WORDS,...", help="attacks whose names have one of these")
    parser.add_argument("--server", action="append", type=server_named, metavar="[NAME=]PATH",
                        help="a hubcached; repeat it to compare several in one run")
    parser.add_argument("--seconds", type=float, default=5, help="of each attack")
    parser.add_argument("--memory", type=int, default=2048,
                        help="MiB at which the attacker is stopped")
    parser.add_argument("--dir", default="/tmp", help="for caches")
    options = parser.parse_args()
    servers = dict(options.server or [("hubcached", world.program("hubcached"))])
    words = (options.only or "").split(",")
    rows, told = [], []
    with temp_dir(options.dir) as folder, world.Hub() as hub:
        options.pb = world.make_stubs(folder)
        hub.control("add-made-up", b"", path=hostile.LARGE, size=32 * MIB, seed=1, lfs=1)
        hub.commit(f"models/{hostile.REPO}", {"config.json": b"{}"})
        for attack_name in hostile.ATTACKS:
            for name, binary in servers.items():
                if not any(word in attack_name for word in words):
                    continue
                with temp_dir(options.dir) as cache, serving(options, binary, hub, cache) as server:
                    figures = measure(options, attack_name, server)
                rows.append([f"{attack_name}: {name}", *figures[:len(COLUMNS) - 1]])
                told.append([f"{attack_name}: {name}", "; ".join(figures[len(COLUMNS) - 1:])[:150]])
    table(f"attacks of {options.seconds:g} s; gap: the longest time without an answer to the "
          "well-behaved client; two figures: before, after", COLUMNS, rows)
    table("what the attacker was told", ["", ""], told)


if __name__ == "__main__":
    main()
