# SPDX-License-Identifier: Apache-2.0
"""The figures of tests/bench/run, each function one table."""

import hashlib
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

import content
import fair as fairness
from figures import status_of, table
import world

ROUNDS = 3
MODEL, FILE = content.MODEL, "config.json"

LOOP = """
import json, sys, time
import huggingface_hub as hub
name, arguments, count = json.loads(sys.argv[1])
call = getattr(hub, name)
call(**arguments)
start = time.perf_counter()
for _ in range(count):
    call(**arguments)
print((time.perf_counter() - start) / count * 1e9)
"""


def bench(name, *arguments, before=()):
    command = [*before, str(world.BUILD / "tests" / "bench" / name), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return result.stdout


def in_python(function, count, **arguments):
    result = subprocess.run(
        [sys.executable, "-c", LOOP, json.dumps([function, arguments, count])],
        env=world.CLEAN | {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1"},
        capture_output=True, text=True, check=True)
    return float(result.stdout)


class Setting:
    """A hub, a hubcached and a cache with one model, all in a temporary directory."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="bench-")
        root = pathlib.Path(self.folder.name)
        (root / "stubs").mkdir()
        self.cache = root / "cache"
        self.hub = world.Hub(content.write(root / "repos"))
        if "resolver" not in globals():
            globals()["resolver"] = world.make_stubs(root / "stubs")
        self.server = world.Server(globals()["resolver"], self.cache, self.hub.endpoint,
                                   arguments=["--log-level", "error"])
        return self

    def __exit__(self, *_):
        self.server.stop()
        self.hub.stop()
        self.folder.cleanup()

    def status(self, field):
        return status_of(self.server.process.pid, field)


def syscalls_of_a_hit(cache, revision, *access, count=1000):
    """{name: calls per hit}: the difference of a run with `count` hits and one without."""

    def trace(hits):
        with tempfile.NamedTemporaryFile() as out:
            bench("bench_hit", cache, MODEL, FILE, revision, hits, *access,
                  before=["strace", "-f", "-c", "-o", out.name])
            rows = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$",
                              pathlib.Path(out.name).read_text(), re.MULTILINE)
        return {name: int(calls) for calls, name in rows if name != "total"}

    none, many = trace(0), trace(count)
    return {name: (many[name] - none.get(name, 0)) / count for name in many
            if many[name] - none.get(name, 0) >= count / 100}


def hits():
    with Setting() as setting:
        file = setting.server.file(MODEL, FILE)
        setting.server.ResolveSnapshot(repo_id=MODEL)  # records that the repo is public
        cache, commit = setting.cache, file.commit_hash
        theirs = {"repo_id": MODEL, "filename": FILE, "cache_dir": str(cache)}
        ways = {
            "hubcache, main": lambda: float(bench("bench_hit", cache, MODEL, FILE, "main", 200000)),
            "hubcache, commit": lambda: float(bench("bench_hit", cache, MODEL, FILE, commit, 200000)),
            "hubcache --hub-access caller, main": lambda: float(
                bench("bench_hit", cache, MODEL, FILE, "main", 200000, "caller")),
            "try_to_load_from_cache, main": lambda: in_python(
                "try_to_load_from_cache", 20000, **theirs),
            "try_to_load_from_cache, commit": lambda: in_python(
                "try_to_load_from_cache", 20000, revision=commit, **theirs),
            "hf_hub_download, commit": lambda: in_python(
                "hf_hub_download", 5000, revision=commit, **theirs),
        }
        rounds = [{name: measure() for name, measure in ways.items()} for _ in range(ROUNDS)]
        median = {name: statistics.median(one[name] for one in rounds) for name in ways}
        calls = {"hubcache, main": syscalls_of_a_hit(cache, "main"),
                 "hubcache, commit": syscalls_of_a_hit(cache, commit),
                 "hubcache --hub-access caller, main": syscalls_of_a_hit(cache, "main", "caller")}
    table(f"a hit in process (median of {ROUNDS} rounds)", ["", "µs", "times ours (same revision)"],
          [[name, f"{value / 1000:.2f}",
            f"{value / median['hubcache, ' + name.split(', ')[1]]:.1f}"]
           for name, value in median.items()])
    table("system calls of a hit", ["", "in all", "which"],
          [[name, f"{sum(each.values()):.1f}",
            ", ".join(f"{n} {c:.1f}" for n, c in each.items())] for name, each in calls.items()])


def snapshot():
    """A file of an open snapshot, beside a hit over RPC and the reference client's lookup."""
    with Setting() as setting:
        commit = setting.server.file(MODEL, FILE).commit_hash
        ours = [setting.server.address, setting.cache, MODEL, FILE]
        theirs = {"repo_id": MODEL, "filename": FILE, "cache_dir": str(setting.cache),
                  "revision": commit}
        ways = {
            "hc_client_snapshot_file": lambda: bench("bench_snapshot", *ours, 500000).split(),
            "hc_client_resolve_file": lambda: bench("bench_snapshot", *ours, 20000, "rpc").split(),
            "try_to_load_from_cache": lambda: (in_python("try_to_load_from_cache", 20000, **theirs), "nan"),
        }
        rounds = [{name: measure() for name, measure in ways.items()} for _ in range(ROUNDS)]
        calls = {}
        for count in (0, 1000):
            with tempfile.NamedTemporaryFile() as out:
                bench("bench_snapshot", *ours, count,
                      before=["strace", "-c", "-o", out.name])  # the main thread alone
                rows = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$",
                                  pathlib.Path(out.name).read_text(), re.MULTILINE)
            for number, name in rows:
                calls[name] = calls.get(name, 0) + (int(number) if count else -int(number))
    median = {name: statistics.median(float(one[name][0]) for one in rounds) for name in ways}
    first = median["hc_client_snapshot_file"]
    table(f"a file of an open snapshot (median of {ROUNDS} rounds)",
          ["", "µs", "answers a second", "times", "allocations"],
          [[name, f"{value / 1000:.2f}", f"{1e9 / value:,.0f}", f"{value / first:.1f}",
            rounds[0][name][1] if value == first else ""]
           for name, value in median.items()])
    table("system calls of hc_client_snapshot_file", ["", "each"],
          [[name, f"{count / 1000:.2f}"] for name, count in calls.items()
           if name != "total" and abs(count) >= 10])


def rpc():
    seconds = 3
    with Setting() as setting:
        commit = setting.server.file(MODEL, FILE).commit_hash
        echo = subprocess.Popen(
            [str(world.BUILD / "tests" / "bench" / "bench_echo"),
             "/hubcache.v1.Resolver/ResolveFile"], stdout=subprocess.PIPE, text=True)
        ours = setting.server.address
        ways = {"echo": (echo.stdout.readline().split()[1], "main"), "main": (ours, "main"),
                "commit": (ours, commit)}
        rows = []
        for in_flight in (1, 8, 64):
            figures = {name: [] for name in ways}
            for _ in range(ROUNDS):
                setting.server.ResolveFile(repo_id=MODEL, filename=FILE,
                                           options={"max_staleness": {"seconds": 0}})
                for name, (address, revision) in ways.items():
                    output = bench("bench_rpc", address, MODEL, FILE, revision, in_flight,
                                   seconds)
                    figures[name].append([float(figure) for figure in output.split()])
            median = {name: [statistics.median(column) for column in zip(*each)]
                      for name, each in figures.items()}
            for name, (rate, p50, p99, *_) in median.items():
                rows.append([f"{name}, {in_flight} in flight", f"{rate:,.0f}", f"{p50:.0f}",
                             f"{p99:.0f}", f"{rate / median['echo'][0]:.2f}"])
        echo.terminate()
        echo.wait()
        echo.stdout.close()
    table(f"ResolveFile hits over gRPC (median of {ROUNDS} rounds of {seconds} s)",
          ["", "calls/s", "p50 µs", "p99 µs", "of echo"], rows)


def memory():
    size = 4 << 30
    with Setting() as setting:
        idle = setting.status("VmRSS")
        setting.hub.control("add-made-up", b"", path="huge.safetensors", size=size, seed=1, lfs=1)
        setting.hub.control("commit", b"", repo="models/org/huge", revision="main")
        start = time.monotonic()
        file = setting.server.ResolveFile(repo_id="org/huge", filename="huge.safetensors",
                                          timeout=600).file
        took = time.monotonic() - start
        peak = setting.status("VmHWM")
        assert os.stat(file.path).st_size == size
    table("memory of hubcached", ["", "MiB"],
          [["idle (VmRSS)", f"{idle / 1024:.1f}"],
           [f"peak while fetching 4 GiB (VmHWM; {size / took / 1e6:.0f} MB/s)",
            f"{peak / 1024:.1f}"]])


def fleet():
    size, calls = 64 << 20, 1000
    with Setting() as setting:
        setting.hub.control("add-made-up", b"", path="w.safetensors", size=size, seed=2, lfs=1)
        setting.hub.control("commit", b"", repo="models/org/fleet", revision="main")
        setting.hub.rule("delay", on_cdn=True, number=1000)
        before = setting.status("Threads")
        start = time.monotonic()
        waiting = [setting.server.start("ResolveFile", repo_id="org/fleet",
                                        filename="w.safetensors") for _ in range(calls)]
        threads = before
        while not all(call.done() for call in waiting):
            threads = max(threads, setting.status("Threads"))
            time.sleep(0.02)
        took = time.monotonic() - start
        answers = [call.result().file for call in waiting]
        right = sum(answer.size_bytes == size and answer.path == answers[0].path
                    for answer in answers)
        content_hash = hashlib.sha256(pathlib.Path(answers[0].path).read_bytes()).hexdigest()
        whole = content_hash == answers[0].etag
        gets, log = len(setting.hub.gets()), setting.hub.log()
    table("1,000 concurrent calls for one missing 64 MiB file", ["", ""],
          [["GETs that reached the CDN", gets], ["requests to the hub", len(log) - gets],
           ["right answers", right if whole else 0], ["threads before", before],
           ["threads at most", threads], ["seconds", f"{took:.1f}"]])


def fair():
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        root = pathlib.Path(folder)
        (root / "stubs").mkdir()
        if "resolver" not in globals():
            globals()["resolver"] = world.make_stubs(root / "stubs")
        (root / "again").mkdir()
        fairness.fair(globals()["resolver"], root)


def shape():
    root = world.ROOT
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard",
                             "*.c", "*.h"], cwd=root, capture_output=True, text=True, check=True)
    rows = []
    for name, folders in (("lib, server, client", ("lib", "server", "client")),
                          ("tests", ("tests",))):
        files = [file for file in listed.stdout.split() if file.split("/")[0] in folders]
        tags = subprocess.run(["ctags", "--output-format=json", "--kinds-C=f", "--fields=+ne",
                               "-f", "-", *files], cwd=root, capture_output=True, text=True,
                              check=True)
        found = [json.loads(line) for line in tags.stdout.splitlines()]
        lengths = sorted((tag["end"] - tag["line"] + 1, f"{tag['path']}:{tag['name']}")
                         for tag in found if "end" in tag)
        longest = max((len((root / file).read_text().splitlines()), file) for file in files)
        median, p95 = lengths[len(lengths) // 2][0], lengths[len(lengths) * 95 // 100][0]
        rows.append([name, len(files), len(lengths), median, p95, "%d %s" % lengths[-1],
                     "%d %s" % longest])
    table("shape of the code (lines)",
          ["", "files", "functions", "median", "p95", "longest function", "longest file"], rows)


TABLES = {"hits": hits, "snapshot": snapshot, "rpc": rpc, "memory": memory, "fleet": fleet,
          "fair": fair, "shape": shape}


def main():
    chosen = sys.argv[1:] or ["all"]
    if not set(chosen) <= TABLES.keys() | {"all"}:
        sys.exit("usage: tests/bench/run [hits|snapshot|rpc|memory|fleet|fair|shape|all]")
    for name, measure in TABLES.items():
        if name in chosen or "all" in chosen:
            measure()


if __name__ == "__main__":
    main()
