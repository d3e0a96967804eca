# SPDX-License-Identifier: Apache-2.0
"""Lists of a large cache, and what a hit costs meanwhile: `tests/bench/run inventory`. The cache is
made here, of sparse blobs: 10,000 repos with 1,000,000 files of 100 MB by default. --cache keeps it for
the next run."""

import argparse
import hashlib
import json
import multiprocessing
import os
import pathlib
import statistics
import subprocess
import sys
import threading
import time

from figures import cpu_of, measure, peak_of, status_of, table, temp_dir
import world

COMMIT = "c0ffee" * 6 + "abcd"
MIB = 1 << 20


def write_repo(root, number, files, size):
    """A complete snapshot of sparse LFS files, with its ref and its listing."""
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


class Hits(threading.Thread):
    """Asks for a file that is cached, again and again, and keeps the times."""

    def __init__(self, server, pause):
        super().__init__(daemon=True)
        self.server, self.pause, self.times, self.ends = server, pause, [], threading.Event()

    def run(self):
        while not self.ends.wait(self.pause):
            start = time.perf_counter()
            self.server.file("org00/model00000", "model-00000.safetensors")
            self.times.append((time.perf_counter() - start) * 1e6)

    def finish(self):
        self.ends.set()
        self.join()
        ordered = sorted(self.times)
        return statistics.median(ordered), ordered[int(len(ordered) * 0.99)]


def system_calls(server, command):
    """How many system calls hubcached makes while the command runs; None without strace."""
    try:
        tracer = subprocess.Popen(["strace", "-f", "-c", "-p", str(server.process.pid)],
                                  stderr=subprocess.PIPE, text=True)
    except FileNotFoundError:
        return None
    time.sleep(0.5)
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=world.CLEAN)
    tracer.terminate()
    lines = tracer.communicate()[1].splitlines()
    return {fields[-1]: int(fields[3]) for fields in map(str.split, lines)
            if len(fields) >= 5 and fields[3].isdigit()}


COMMANDS = {
    "ls": ["ls", "--json"],
    "du": ["du"],
    "files": ["ls", "org00/model00000", "--files", "-q"],
}


def lists(server, options):
    """Each command, beside hits that are made all the time; the same hits alone before each."""
    rows = []
    for name in options.commands.split(","):
        count = options.files * (1 if name == "files" else options.repos)
        alone = Hits(server, 0.002)
        alone.start()
        time.sleep(3)
        alone_median, alone_worst = alone.finish()
        before = cpu_of(server.process.pid)
        hits = Hits(server, 0.002)
        hits.start()
        cost = measure([world.program("hubcache"), "--server", server.address, *COMMANDS[name]])
        median, worst = hits.finish()
        cpu = cpu_of(server.process.pid) - before
        rows.append([" ".join(COMMANDS[name]), f"{cost.wall:.2f}", f"{cpu:.2f}", f"{cost.wall / count * 1e6:.1f}",
                     f"{cost.rss:.0f}", f"{peak_of(server.process.pid):.0f}", f"{alone_median:.0f}",
                     f"{median:.0f}", f"{alone_worst:.0f}", f"{worst:.0f}"])
    table(f"lists of {options.repos} repos, {options.repos * options.files} files, "
          f"{options.repos * options.files * options.bytes / 1e12:.0f} TB",
          ["command", "s", "server CPU s", "us/file", "command MiB", "server MiB",
           "hit us: alone p50", "meanwhile", "alone p99", "meanwhile"], rows)


def calls(server, options):
    rows = []
    for arguments in (["ls", "--json"], ["du"]):
        command = [world.program("hubcache"), "--server", server.address, *arguments]
        found = system_calls(server, command)
        if found is None:
            print("\nno strace: system calls are not counted")
            return
        total = found.pop("total", 0)
        most = sorted(found.items(), key=lambda item: -item[1])[:6]
        rows.append([" ".join(arguments), total, f"{total / (options.repos * options.files):.2f}",
                     " ".join(f"{name}={count}" for name, count in most)])
    table("system calls of hubcached", ["command", "calls", "per file", "most"], rows)


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/run inventory", description=__doc__)
    parser.add_argument("--repos", type=int, default=10_000)
    parser.add_argument("--files", type=int, default=100, help="of each repo (100)")
    parser.add_argument("--bytes", type=int, default=100_000_000, help="of each file, sparse")
    parser.add_argument("--cache", help="make the cache here, or use the one that is here")
    parser.add_argument("--only", default="lists,calls")
    parser.add_argument("--commands", default=",".join(COMMANDS))
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
