# SPDX-License-Identifier: Apache-2.0
"""What a warm-up saves, and what asking for one costs a hit:

    python3 tests/bench/warm.py BUILD FOLDER [MIB]

FOLDER is on the volume to be measured. Prints the seconds of a first read of a file that is not
in the page cache, of one after `hubcache file --warm`, of that command, and of the command for a
file that is warm already; and the nanoseconds of an in-process hit without and with `warm`."""

import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile
import time

COMMIT = "a" * 40
REPO = "org/model"
ROUNDS = 5
HITS = 200000


def make_cache(folder, size):
    """A cache with one file of random bytes; returns its path."""
    repo = folder / "models--org--model"
    for name in ("blobs", "refs", f"snapshots/{COMMIT}"):
        (repo / name).mkdir(parents=True)
    (repo / "refs/main").write_text(COMMIT)
    hasher = hashlib.sha256()
    private = repo / "blobs/new"
    with private.open("wb") as out:
        for _ in range(size):
            chunk = os.urandom(1 << 20)
            hasher.update(chunk)
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    private.rename(repo / "blobs" / hasher.hexdigest())
    pointer = repo / f"snapshots/{COMMIT}/weights"
    pointer.symlink_to(f"../../blobs/{hasher.hexdigest()}")
    return pointer


def make_cold(path):
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def seconds(function, *arguments):
    start = time.monotonic()
    function(*arguments)
    return time.monotonic() - start


def read(path):
    buffer = bytearray(1 << 20)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def median(numbers):
    return sorted(numbers)[len(numbers) // 2]


def main(build, folder, size):
    build = pathlib.Path(build).resolve()
    with tempfile.TemporaryDirectory(dir=folder) as name:
        cache = pathlib.Path(name)
        path = make_cache(cache, size)
        server = subprocess.Popen([build / "server/hubcached", "--listen", "127.0.0.1:0", "--cache-dir",
                                   name, "--offline"], stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, text=True)
        address = server.stdout.readline().split()[1]

        def warm():
            subprocess.run([build / "client/command/hubcache", "--server", address, "file", REPO,
                            "weights", "--warm", "--quiet"], check=True, stdout=subprocess.DEVNULL)

        figures = {"cold read": [], "warm-up": [], "read after it": [], "warm-up again": []}
        for _ in range(ROUNDS):
            make_cold(path)
            figures["cold read"].append(seconds(read, path))
            make_cold(path)
            figures["warm-up"].append(seconds(warm))
            figures["read after it"].append(seconds(read, path))
            figures["warm-up again"].append(seconds(warm))
        server.terminate()
        server.wait()
        for what, values in figures.items():
            print(f"{what} of {size} MiB: {median(values):.3f} s")
        for how in ([], ["warm"]):
            took = subprocess.run([build / "tests/bench/bench_hit", name, REPO, "weights", "main",
                                   str(HITS), *how], check=True, stdout=subprocess.PIPE, text=True)
            print(f"a hit{' with warm' if how else ''}: {took.stdout.strip()} ns")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 512)
