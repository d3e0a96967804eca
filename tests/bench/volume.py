# SPDX-License-Identifier: Apache-2.0
"""Hits and complete snapshots on a volume that is slow, beside a local one in the same run:
`tests/bench/run volume`. The slow one is the same file system, with tests/support/slow_volume.c
between hubcached and libc: each metadata operation takes half a millisecond more."""

import argparse
import contextlib
import hashlib
import json
import os
import statistics
import time

from figures import AIMS, at_least, at_most, status_of, table, temp_dir
import load
import world

COMMIT = "c0ffee" * 6 + "abcd"
MANY, PER_DIRECTORY, FEW = 10_000, 500, 42
FIRST = 4_000  # calls, each for another file
IDLE = 1.5  # seconds: what is remembered is older then than --confirm-after


def write_cache(cache, repo, count, per_directory=0):
    """A complete snapshot with its listing, as any client writes it."""
    folder = cache / ("models--" + repo.replace("/", "--"))
    snapshot = folder / "snapshots" / COMMIT
    for name in ("blobs", "refs", "trees"):
        (folder / name).mkdir(parents=True)
    listed = {}
    for number in range(count):
        content = b"%d" % number
        path = f"file-{number}"
        if per_directory > 0:
            path = f"d-{number // per_directory:03}/{path}"
        blob = hashlib.sha1(b"blob %d\0%s" % (len(content), content)).hexdigest()
        (folder / "blobs" / blob).write_bytes(content)
        (snapshot / path).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / path).symlink_to("../" * path.count("/") + f"../../blobs/{blob}")
        listed[path] = {"size": len(content), "blob_id": blob}
    (folder / "refs" / "main").write_text(COMMIT)
    (folder / "trees" / f"{COMMIT}.json").write_text(
        json.dumps({"format_version": 1, "files": listed}, indent=1, sort_keys=True))


class Volumes:
    """A cache and how a server is started on it, local and slow."""

    def __init__(self, options, folder, hub):
        self.options, self.folder, self.hub = options, folder, hub
        for name in ("local", "slow"):
            write_cache(folder / name, "bench/many", MANY, PER_DIRECTORY)
            write_cache(folder / name, "bench/few", FEW)
            write_cache(folder / name, "bench/first", FIRST)
        time.sleep(2.1)  # what changed just now proves nothing

    @contextlib.contextmanager
    def serving(self, name):
        environment = {} if name == "local" else {
            "LD_PRELOAD": str(world.BUILD / "tests" / "support" / "libslow_volume.so"),
            "SLOW_VOLUME": str((self.folder / name).resolve()),
            "SLOW_VOLUME_US": str(self.options.us)}
        options = argparse.Namespace(pb=self.options.pb, servers={name: self.options.server})
        with load.serving(options, self.hub, self.folder, name, environment=environment) as server:
            yield server


def milliseconds(call):
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1000


# --- repeated hits -------------------------------------------------------------------------


def repeated(volumes, options):
    rows = []
    with volumes.serving("local") as local, volumes.serving("slow") as slow:
        for filename in (load.FILE, ""):
            what = "snapshot" if filename == "" else "file"
            for in_flight in options.in_flight:
                figures = {local: [], slow: []}
                for _ in range(options.rounds):
                    for server, each in figures.items():
                        each.append(load.load(server.address, filename, in_flight,
                                              options.seconds))
                quick, late = (load.median(each) for each in figures.values())
                ratio = late.rate / max(quick.rate, 1)
                rows.append([f"{what}, {in_flight} in flight", f"{quick.rate:,.0f}",
                             f"{late.rate:,.0f}", f"{ratio:.2f}", f"{quick.p50:.0f}",
                             f"{late.p50:.0f}", f"{quick.p99:.0f}", f"{late.p99:.0f}"])
                at_least(f"repeated hits, {what}, {in_flight} in flight: of the local rate", 0.8,
                         ratio)
    table(f"repeated hits (median of {options.rounds} rounds of {options.seconds} s)",
          ["", "local/s", "slow/s", "of local", "p50 µs", "slow", "p99 µs", "slow"], rows)


# --- files that this process has never looked up -------------------------------------------


def first(volumes, options):
    rows = []
    for name in ("local", "slow"):
        for in_flight in options.in_flight:
            with volumes.serving(name) as server:
                calls = FIRST if name == "local" or in_flight > 1 else FIRST // 10
                for file in range(50):  # so that it knows how quick the volume is
                    server.ResolveFile(repo_id="bench/few", filename=f"file-{file % FEW}")
                got = load.load(server.address, "file", in_flight, 1, repo="bench/first",
                                options=["--calls", str(calls), "--distinct"])
                rows.append([f"{name}, {in_flight} in flight", f"{got.rate:,.0f}", f"{got.p50}",
                             f"{got.p99}", f"{got.rate * options.us / 1e6:.1f}",
                             status_of(server.process.pid, "Threads")])
    table(f"first-time hits: {FIRST:,} files, each asked for once",
          ["", "calls/s", "p50 µs", "p99 µs", "x the delay", "threads"], rows)


# --- complete snapshots --------------------------------------------------------------------


def snapshot_times(volumes, name, repo):
    """Milliseconds of a call after each restart, of the next one, and of one after a pause."""
    times = {}
    for start in ("never seen", "seen before, restarted"):
        with volumes.serving(name) as server:
            server.ResolveFile(repo_id="bench/few", filename="file-0")

            def ask():
                assert server.ResolveSnapshot(repo_id=repo).completeness == 1

            times[start] = milliseconds(ask)
            times["again"] = statistics.median(milliseconds(ask) for _ in range(20))
            time.sleep(IDLE)
            times[f"after {IDLE} s"] = milliseconds(ask)
    return times


def snapshots(volumes, _):
    rows = []
    for repo, count in (("bench/few", FEW), ("bench/many", MANY)):
        local = snapshot_times(volumes, "local", repo)
        slow = snapshot_times(volumes, "slow", repo)
        for what, took in slow.items():
            rows.append([f"{count:,} files, {what}", f"{local[what]:.1f}", f"{took:.1f}"])
            if count == MANY and what != "never seen":
                at_most(f"a complete snapshot of {MANY:,} files, {what}", 50, took, " ms")
    table("complete snapshots", ["", "local ms", "slow ms"], rows)


# --- the command ---------------------------------------------------------------------------

PARTS = {"repeated": repeated, "first": first, "snapshots": snapshots}


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/run volume", description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), metavar="PART,...",
                        help=f"of {', '.join(PARTS)}")
    parser.add_argument("--server", default=world.program("hubcached"), metavar="PATH")
    parser.add_argument("--us", type=int, default=500, help="what an operation takes more")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--in-flight", default="1,8,64,512", metavar="N,...")
    parser.add_argument("--dir", default="/dev/shm", help="for the caches")
    options = parser.parse_args()
    options.in_flight = [int(number) for number in options.in_flight.split(",")]
    with temp_dir(options.dir) as folder, load.hub_of_load() as hub:
        options.pb = world.make_stubs(folder)
        print(f"{os.cpu_count()} processors for client and servers; "
              f"{options.us} µs more for each metadata operation")
        volumes = Volumes(options, folder, hub)
        for part in options.only.split(","):
            PARTS[part](volumes, options)
    table("aims", ["", "aim", "measured", ""], AIMS)


if __name__ == "__main__":
    main()
