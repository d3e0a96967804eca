# SPDX-License-Identifier: Apache-2.0
"""The cost of a slow repo to callers of other repos: latencies beside those of an idle server,
threads, and what cancelled calls leave behind."""

import contextlib
import statistics
import time

import grpc

from figures import status_of, table
import world

FILES, MISSES, SNAPSHOTS, GIVEN_UP = 20, 64, 64, 4200
CALLS = 400  # of each kind, for one row
PAUSE = 600000  # ms before the Hub answers requests about the slow repos


def percentiles(call):
    """(p50, p99) in µs."""
    took = []
    for _ in range(CALLS):
        start = time.perf_counter()
        call()
        took.append((time.perf_counter() - start) * 1e6)
    cuts = statistics.quantiles(took, n=100)
    return cuts[49], cuts[98]


def measure(server):
    """{kind: (p50, p99)}, None for calls that are not answered within two seconds."""
    kinds = {
        "a file that is there": lambda: server.ResolveFile(
            repo_id="bench/fair", filename="file-0.json", timeout=2),
        "a complete snapshot": lambda: server.ResolveSnapshot(repo_id="bench/fair", timeout=2),
        "the same, local_files_only": lambda: server.ResolveSnapshot(
            repo_id="bench/fair", options={"local_files_only": True}, timeout=2),
    }
    figures = {}
    for name, call in kinds.items():
        try:
            figures[name] = percentiles(call)
        except grpc.RpcError:
            figures[name] = None
    return figures


def start_misses(server, first, count):
    return [server.start("ResolveFile", repo_id="bench/slow", filename=f"file-{number}")
            for number in range(first, first + count)]


def cancel(calls):
    for call in calls:
        call.cancel()


def answer_of(call):
    start = time.perf_counter()
    try:
        call(timeout=2)
    except grpc.RpcError as error:
        return f"{error.code().name}: {error.details()[:60]}"
    return f"OK after {(time.perf_counter() - start) * 1000:.1f} ms"


def given_up(server):
    """The answer to an ordinary miss after so many calls were cancelled."""
    misses = start_misses(server, 0, MISSES)
    for number in range(GIVEN_UP):
        cancel(start_misses(server, MISSES + number, 1))
    told = answer_of(lambda timeout: server.ResolveFile(
        repo_id="bench/other", filename="file-0.json", timeout=timeout))
    cancel(misses)
    return told


def most_threads(server, hub):
    """Threads while snapshots of as many repos, asked for by as many callers, wait for bytes."""
    for number in range(SNAPSHOTS):
        hub.commit(f"models/bench/many-{number}",
                   {f"file-{file}.json": b"%d %d" % (number, file) for file in range(FILES)})
    hub.rule("delay", contains="/resolve/", number=PAUSE)
    calls = [server.stub.ResolveSnapshot.future(
        server.pb.ResolveSnapshotRequest(repo_id=f"bench/many-{number}"), timeout=60,
        metadata=[("x-hub-token", f"token-{number}")]) for number in range(SNAPSHOTS)]
    most, still_since = 0, time.monotonic()
    while time.monotonic() - still_since < 2:
        threads = status_of(server.process.pid, "Threads")
        if threads > most:
            most, still_since = threads, time.monotonic()
        time.sleep(0.02)
    cancel(calls)
    return most


@contextlib.contextmanager
def setting(pb, folder):
    with world.Hub() as hub:
        for repo in ("fair", "other"):
            hub.commit(f"models/bench/{repo}", {f"file-{number}.json": b"{}" + bytes([number])
                                                for number in range(FILES)})
        server = world.Server(pb, folder / "cache", hub.endpoint,
                              arguments=["--log-level", "error", "--max-staleness", "1h"])
        try:
            server.ResolveSnapshot(repo_id="bench/fair")
            hub.rule("delay", contains="bench/slow", number=PAUSE)
            yield server, hub
        finally:
            server.kill()


def row(name, idle, loaded):
    def text(figures):
        return ["no answer in 2 s", ""] if figures is None else [f"{one:.0f}" for one in figures]

    times = ["", ""] if loaded is None else [f"{a / b:.2f}" for a, b in zip(loaded, idle)]
    return [name, *text(idle), *text(loaded), *times]


def fair(pb, folder):
    with setting(pb, folder) as (server, hub):
        idle = measure(server)
        misses = start_misses(server, 0, MISSES)
        loaded = measure(server)
        cancel(misses)
        told = given_up(server)
    with setting(pb, folder / "again") as (server, hub):
        threads = most_threads(server, hub)
    table(f"{MISSES} misses of one slow repo ({CALLS} calls of each kind)",
          ["", "idle p50 µs", "p99", "loaded p50 µs", "p99", "times p50", "times p99"],
          [row(name, idle[name], loaded[name]) for name in idle])
    table("many", ["", ""],
          [[f"a miss after {GIVEN_UP} that were given up", told],
           [f"threads with {SNAPSHOTS} snapshots on their way", threads]])
