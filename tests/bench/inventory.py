# SPDX-License-Identifier: Apache-2.0
"""Lists of a large cache, plans of evictions (of a hundredth and of half of it) and of a prune, and
what a hit costs meanwhile: `tests/bench/run inventory`. The cache is made here, of sparse blobs: 10,000
repos with 1,000,000 files of 100 MB by default. --cache keeps it for the next run."""

import argparse
import hashlib
import json
import multiprocessing
import os
import pathlib
import re
import statistics
import subprocess
import sys
import threading
import time
import urllib.request

from figures import cpu_of, measure, peak_of, status_of, table, temp_dir
import world

COMMIT = "c0ffee" * 6 + "abcd"
BLOCK = 4096  # bytes that a blob takes


def write_repo(root, number, files, size):
    """A complete snapshot of LFS files, with its ref and its listing. The files are sparse, with one
    block each, so that an eviction has something to free."""
    folder = root / f"models--org{number % 100:02}--model{number:05}"
    snapshot = folder / "snapshots" / COMMIT
    for path in (folder / "blobs", snapshot, folder / "refs", folder / "trees"):
        path.mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    blobs, pointers = (os.open(path, os.O_RDONLY) for path in (folder / "blobs", snapshot))
    listed = {}
    for index in range(files):
        etag = hashlib.sha256(b"%d/%d" % (number, index)).hexdigest()
        name = f"model-{index:05}.safetensors"
        blob = os.open(etag, os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=blobs)
        os.posix_fallocate(blob, 0, BLOCK)
        os.ftruncate(blob, size)
        os.close(blob)
        os.symlink(f"../../blobs/{etag}", name, dir_fd=pointers)
        listed[name] = {"blob_id": "a" * 40, "lfs_sha256": etag, "lfs_size": size, "size": 135}
    os.close(blobs)
    os.close(pointers)
    (folder / "trees" / f"{COMMIT}.json").write_text(
        json.dumps({"format_version": 1, "files": listed}, indent=1))


def write_repos(root, first, options):
    for number in range(first, options.repos, options.jobs):
        write_repo(root, number, options.files, options.bytes)


def write_cache(root, options):
    if (root / "CACHEDIR.TAG").exists():
        return
    start = time.monotonic()
    workers = [multiprocessing.Process(target=write_repos, args=(root, first, options))
               for first in range(options.jobs)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    (root / "CACHEDIR.TAG").write_text("")
    print(f"made {options.repos} repos with {options.repos * options.files} files in "
          f"{time.monotonic() - start:.0f} s")


HIT = ("org00/model00000", "model-00000.safetensors", "main")


def hits(server, in_flight, *options):
    """(p50, p99 in us, calls a second) of a second of hits; see bench_rpc.c."""
    done = subprocess.run([world.BUILD / "tests" / "bench" / "bench_rpc", *options, server.address,
                           *HIT, str(in_flight), "1"], capture_output=True, text=True, check=True)
    rate, p50, p99, *_ = map(int, done.stdout.split())
    return p50, p99, rate


def hits_until(is_over, server, in_flight, *options):
    """The medians of as many seconds as it takes, and of three at least."""
    rounds = []
    while len(rounds) < 3 or not is_over():
        rounds.append(hits(server, in_flight, *options))
    return [statistics.median(column) for column in zip(*rounds)]


class Repeated(threading.Thread):
    """A command, again and again until it is told to end."""

    def __init__(self, command):
        super().__init__(daemon=True)
        self.command, self.ends, self.is_first_over = command, False, False

    def run(self):
        while not self.ends:
            subprocess.run(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                           env=world.CLEAN)
            self.is_first_over = True


def hits_beside(server, command):
    """A latency at 500 calls a second, and a closed loop, while the command runs."""
    figures = []
    for arguments in (("--rate", "500"), ()):
        repeated = Repeated(command)
        repeated.start()
        figures += hits_until(lambda: repeated.is_first_over, server, 64, *arguments)
        repeated.ends = True
        repeated.join()
    return figures[0], figures[1], figures[5]


def cells_of(figures):
    return [f"{figure:,.0f}" for figure in figures]


def system_calls(server, command):
    """How many system calls hubcached makes while the command runs; None without strace."""
    try:
        tracer = subprocess.Popen(["strace", "-f", "-c", "-p", str(server.process.pid)],
                                  stderr=subprocess.PIPE, text=True)
    except FileNotFoundError:
        return None
    time.sleep(0.5)
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=world.CLEAN)
    tracer.terminate()
    lines = tracer.communicate()[1].splitlines()
    return {fields[-1]: int(fields[3]) for fields in map(str.split, lines)
            if len(fields) >= 5 and fields[3].isdigit()}


def commands(options):
    """Each with the number of files that it is about."""
    whole = options.repos * options.files
    return {"ls": (["ls", "--json"], whole), "du": (["du"], whole),
            "files": (["ls", "org00/model00000", "--files", "-q"], options.files),
            "evict1": (["evict", str(whole * BLOCK // 100), "--dry-run"], whole),
            "evict50": (["evict", str(whole * BLOCK // 2), "--dry-run"], whole),
            "prune": (["prune", "--dry-run"], whole)}


def full_command(server, options, name):
    arguments, count = commands(options)[name]
    return [world.program("hubcache"), "--server", server.address, *arguments], count


def cost_of(server, command):
    """(the command's cost, the server's CPU seconds, its MiB before and at most)."""
    pid = server.process.pid
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak so far
    before, cpu = status_of(pid, "VmRSS") / 1024, cpu_of(pid)
    cost = measure(command)
    return cost, cpu_of(pid) - cpu, before, peak_of(pid)


def lists(server, options):
    """Each command twice, and then beside hits; the same hits alone before."""
    names = options.commands.split(",")
    server.file(*HIT)
    alone = [*hits_until(lambda: True, server, 64, "--rate", "500")[:2],
             hits_until(lambda: True, server, 64)[2]]
    rows = [["hits alone", *[""] * 6, *cells_of(alone)]]
    for name in names:
        command, count = full_command(server, options, name)
        for time_name in ("first", "again"):
            cost, cpu, before, most = cost_of(server, command)
            rows.append([f"{name}, {time_name}", f"{cost.wall:.2f}", f"{cpu:.2f}",
                         f"{cost.wall / count * 1e6:.1f}", f"{before:.0f}", f"{most:.0f}",
                         f"{cost.rss:.0f}", "", "", ""])
        if not options.no_hits:
            rows[-1][-3:] = cells_of(hits_beside(server, command))
    table(f"lists and plans of {options.repos} repos, {options.repos * options.files} files, "
          f"{options.repos * options.files * options.bytes / 1e12:.0f} TB",
          ["command", "s", "server CPU s", "us/file", "server MiB before", "at most", "command MiB",
           "hits: p50 us", "p99 us", "calls/s"], rows)


def is_measured(http):
    with urllib.request.urlopen(f"{http}/metrics", timeout=60) as answer:
        return re.search(rb"^hubcache_occupied_bytes", answer.read(), re.MULTILINE)


def scan(server, options):
    """The scan in the background of a server that has a limit, beside hits."""
    limited = world.Server(server.pb, server.cache, "http://127.0.0.1:9",
                           arguments=("--offline", "--cache-limit", "1T", "--http-listen",
                                      "127.0.0.1:0"))
    start, cpu = time.monotonic(), cpu_of(limited.process.pid)
    http = limited.process.stdout.readline().split()[1]
    latency = hits_until(lambda: is_measured(http), limited, 64, "--rate", "500")
    wall, cpu = time.monotonic() - start, cpu_of(limited.process.pid) - cpu
    table("the scan in the background, with hits",
          ["", "s", "CPU s, with hits", "server MiB at most", "hits: p50 us", "p99 us"],
          [["--cache-limit", f"{wall:.1f}", f"{cpu:.2f}", f"{peak_of(limited.process.pid):.0f}",
            *cells_of(latency[:2])]])
    limited.stop()


def calls(server, options):
    rows = []
    for name in options.commands.split(","):
        command, count = full_command(server, options, name)
        for time_name in ("first", "again"):
            found = system_calls(server, command)
            if found is None:
                print("\nno strace: system calls are not counted")
                return
            total = found.pop("total", 0)
            most = sorted(found.items(), key=lambda item: -item[1])[:6]
            rows.append([f"{name}, {time_name}", total, f"{total / count:.2f}",
                         " ".join(f"{name}={count}" for name, count in most)])
    table("system calls of hubcached", ["command", "calls", "per file", "most"], rows)


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/run inventory", description=__doc__)
    parser.add_argument("--repos", type=int, default=10_000)
    parser.add_argument("--files", type=int, default=100, help="of each repo (100)")
    parser.add_argument("--bytes", type=int, default=100_000_000, help="of each file, sparse")
    parser.add_argument("--cache", help="make the cache here, or use the one that is here")
    parser.add_argument("--only", default="lists,calls", help="lists, calls, scan")
    parser.add_argument("--commands", default="ls,du,files,evict1,evict50,prune")
    parser.add_argument("--no-hits", action="store_true", help="measure the commands alone")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    with temp_dir(None) as folder:
        cache = pathlib.Path(options.cache) if options.cache else folder / "cache"
        cache.mkdir(parents=True, exist_ok=True)
        write_cache(cache, options)
        server = world.Server(world.make_stubs(folder), cache, "http://127.0.0.1:9", arguments=("--offline",))
        print(f"\nhubcached has {status_of(server.process.pid, 'VmRSS') / 1024:.0f} MiB at first")
        for part in options.only.split(","):
            globals()[part](server, options)
        server.stop()


if __name__ == "__main__":
    sys.exit(main())
