# SPDX-License-Identifier: Apache-2.0
"""Is the limit of the cache kept? `tests/bench/run enforcement`: callers ask three hubcached on one
volume for ten times as much as --cache-limit lets them keep, some with leases, while one of the
three is killed every half a minute. A caller with a lease opens and checks its files until the lease
ends. The room that the cache takes is sampled by inode, without hubcached's help."""

import argparse
import collections
import dataclasses
import os
import random
import re
import stat
import statistics
import threading
import time

import grpc

from figures import MIB, table, temp_dir
import world

SERVERS = 3
SAMPLE_S = 0.2
CHECK_S = 0.5
EDGE = 4096  # bytes that are compared at both ends of a file
DEADLINE = 60
GRACE_S = 1  # how long after its end a lease still holds
LEASED, LEASE_S = 0.6, (1, 20)  # how many of the calls take a lease, and how long
LATE_S = 3  # what a server saw held so long before its answer is here may have ended by now
RETRIED = {"UNAVAILABLE", "SHUTTING_DOWN", "CANCELLED", "BUSY"}  # the server was killed


@dataclasses.dataclass
class Sample:
    at: float
    total: int  # bytes of all files with content below the cache root, and of directories
    partial: int  # of these, of partial files
    small: int  # of these, of directories, locks, listings and refs, which do not count
    trash: int  # of these, in .hubcache/trash
    held: int  # bytes of blobs of repos that have a lease on the volume
    sure: int  # bytes of blobs that were there at one moment: see sample()


class World:
    """The servers, and what the threads share."""

    def __init__(self, options, folder, hub):
        self.options, self.cache, self.hub = options, folder / "hub", hub
        self.arguments = ["--log-level", "error", "--cache-limit", str(options.limit * MIB),
                          *options.argument]
        self.servers = [self.start() for _ in range(SERVERS)]
        self.lock = threading.Lock()
        self.outcomes = collections.Counter()
        self.messages = collections.Counter()
        self.early = []  # NO_SPACE with room that no lease held: (held, needed, message)
        self.unsaid = 0  # NO_SPACE with a message that says of less than it takes what holds it
        self.lost = []
        self.took = []
        self.kills = self.checks = self.asked = 0
        self.samples = []
        self.snapshots, self.evictions = set(), 0
        self.end = time.monotonic() + options.seconds

    def start(self):
        return world.Server(self.options.pb, self.cache, self.hub.endpoint,
                            arguments=self.arguments)

    def is_over(self):
        return time.monotonic() >= self.end

    def held(self):
        """What leases hold now, as the volume has it, whichever caller got the answer."""
        now, folders = time.time() - GRACE_S, set()
        for path, status in walk(self.cache / ".hubcache" / "leases"):
            if stat.S_ISREG(status.st_mode) and status.st_mtime > now and not path.endswith("/bar"):
                folders.add(os.path.relpath(path, self.cache).split(os.sep)[2])
        return sum(status.st_blocks * 512 for folder in folders
                   for path, status in walk(self.cache / folder / "blobs")
                   if stat.S_ISREG(status.st_mode) and not path.endswith(".incomplete"))


def repo_name(number):
    return f"bench/repo-{number:03}"


def fill(hub, options):
    size = options.repo * MIB // options.files
    for number in range(options.repos):
        for file in range(options.files):
            hub.control("add-made-up", b"", path=f"model-{file}.safetensors", size=size,
                        seed=number * options.files + file, lfs=1)
        hub.control("commit", b"", repo=f"models/{repo_name(number)}", revision="main")


# --- callers -------------------------------------------------------------------------------


def edges_of(path):
    with open(path, "rb") as file:
        head = file.read(EDGE)
        file.seek(-EDGE, os.SEEK_END)
        return head + file.read(EDGE)


def check_until(shared, number, answer, until):
    """Looks at the files of a lease again and again; says what is lost."""
    names = [f"{answer.path}/model-{file}.safetensors" for file in range(shared.options.files)]
    known = {}
    while time.monotonic() < until and not shared.is_over():
        for name in names:
            try:
                edges = edges_of(name)
            except OSError as error:
                shared.lost.append(f"{repo_name(number)}: {error}")
                return
            if known.setdefault(name, edges) != edges:
                shared.lost.append(f"{repo_name(number)}: {name} has other bytes")
                return
            shared.checks += 1
        time.sleep(CHECK_S)


def reason_of(error):
    try:
        reason, message, metadata = world.reason_of(error)
    except (KeyError, AssertionError):
        return error.code().name, error.details(), {}
    return reason, message, metadata


def ask(shared, chance):
    number = chance.randrange(shared.options.repos)
    lease = chance.randint(*LEASE_S) if chance.random() < LEASED else 0
    server = chance.choice(shared.servers)
    fields = {"options": {"lease": {"seconds": lease}}} if lease else {}
    begun = time.monotonic()
    try:
        answer = server.ResolveSnapshot(repo_id=repo_name(number), timeout=DEADLINE, **fields)
    except (grpc.RpcError, ValueError) as error:  # ValueError: of a closed channel
        assert isinstance(error, grpc.RpcError) or "closed" in str(error), error
        note_failure(shared, error)
        return
    with shared.lock:
        shared.asked += 1
        shared.took.append(time.monotonic() - begun)
        shared.outcomes["ok, from the cache" if answer.source == 1 else "ok, fetched"] += 1
    if answer.lease_id:
        check_until(shared, number, answer, begun + lease)
    else:
        time.sleep(chance.random() / 5)


def said_to_stay(message):
    """The bytes that leases, pins and the policy hold, as a refusal says."""
    return sum(int(number) for number in re.findall(r"(\d+) bytes (?:leased|pinned|kept)", message))


def note_failure(shared, error):
    reason, message, metadata = ("UNAVAILABLE", "", {}) if isinstance(error, ValueError) \
        else reason_of(error)
    held = shared.held() if reason == "NO_SPACE" else 0
    with shared.lock:
        shared.outcomes[f"{reason}, server killed" if reason in RETRIED else reason] += 1
        if reason in RETRIED:
            shared.messages[message[:100]] += 1
        if reason == "NO_SPACE":
            needed, since = int(metadata["needed_bytes"]), time.monotonic() - LATE_S
            held = max([held, *[each.held for each in shared.samples[-50:] if each.at > since]])
            shared.unsaid += said_to_stay(message) + needed <= shared.options.limit * MIB
            if held + needed <= shared.options.limit * MIB:
                shared.early.append((held, needed, message))
        elif reason not in RETRIED:
            print(f"{reason}: {message}", flush=True)
    time.sleep(0.5)


def call_on(shared, seed):
    chance = random.Random(seed)
    while not shared.is_over():
        ask(shared, chance)


# --- kills and samples ---------------------------------------------------------------------


def kill_on(shared):
    chance = random.Random(shared.options.seed)
    while not shared.is_over():
        time.sleep(min(shared.options.kill_every, max(0, shared.end - time.monotonic())))
        if shared.is_over():
            return
        victim = chance.randrange(SERVERS)
        server = shared.servers[victim]
        server.kill()
        server.process.stdout.close()
        shared.servers[victim] = shared.start()
        shared.kills += 1


def walk(path):
    """(path, status) of all that is below a directory; what vanishes meanwhile is left out."""
    try:
        entries = list(os.scandir(path))
    except OSError:
        return
    for entry in entries:
        try:
            yield entry.path, entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                yield from walk(entry.path)
        except OSError:
            continue


def sample(shared):
    """Files come and go while they are counted. What is still there after the last one was found was
    there at that moment together: so much the cache had for sure."""
    inodes, paths, snapshots = {}, {}, set()
    for path, status in walk(shared.cache):
        if os.path.basename(os.path.dirname(path)) == "snapshots":
            snapshots.add(path)
        kind = "small" if not stat.S_ISREG(status.st_mode) or status.st_size < EDGE else \
            "partial" if path.endswith(".incomplete") else \
            "trash" if "/.hubcache/trash/" in path else "other"
        inodes[status.st_ino] = kind, status.st_blocks * 512
        if kind == "other":
            paths[path] = status.st_ino
    sure = sum(inodes[inode][1] for path, inode in paths.items() if inode_of(path) == inode)
    rooms = collections.Counter()
    for kind, room in inodes.values():
        rooms[kind] += room
    shared.evictions += len(shared.snapshots - snapshots)
    shared.snapshots = snapshots
    shared.samples.append(Sample(time.monotonic(), sum(rooms.values()), rooms["partial"],
                                 rooms["small"], rooms["trash"], shared.held(), sure))


def inode_of(path):
    try:
        return os.stat(path, follow_symlinks=False).st_ino
    except OSError:
        return 0


def sample_on(shared):
    while not shared.is_over():
        begun = time.monotonic()
        sample(shared)
        time.sleep(max(0, SAMPLE_S - (time.monotonic() - begun)))


# --- the whole -----------------------------------------------------------------------------


def run(options):
    with temp_dir(options.dir) as folder, world.Hub() as hub:
        fill(hub, options)
        shared = World(options, folder, hub)
        threads = [threading.Thread(target=call_on, args=(shared, options.seed + number))
                   for number in range(options.callers)]
        threads += [threading.Thread(target=kill_on, args=(shared,)),
                    threading.Thread(target=sample_on, args=(shared,))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        left = oracle_of(shared.cache, hub)
        for server in shared.servers:
            server.stop()
    return shared, left


def oracle_of(cache, hub):
    """What the newest Python client's scanner says of the cache, beside the folder .hubcache."""
    import huggingface_hub

    warnings = [str(warning) for warning in huggingface_hub.scan_cache_dir(cache).warnings]
    warnings = [warning for warning in warnings if ".hubcache" not in warning]
    return [f"{warning}: {sorted(str(path.relative_to(cache)) for path in folder.rglob('*'))}"
            for warning in warnings for folder in cache.glob("*--*") if folder.name in warning]


def report(shared, left):
    options, limit = shared.options, shared.options.limit * MIB
    highest = max(shared.samples, key=lambda each: each.total)
    over = max(each.sure - limit for each in shared.samples)
    table(f"enforcement: limit {options.limit} MiB, {options.callers} callers, {SERVERS} hubcached, "
          f"{options.seconds} s, {options.repos} repos of {options.repo} MiB",
          ["", "figure"],
          [["highest bytes on disk, MiB", f"{highest.total / MIB:.1f}"],
           ["  of these in partial files, MiB", f"{highest.partial / MIB:.1f}"],
           ["  of these in the trash, MiB", f"{highest.trash / MIB:.1f}"],
           ["  of these directories, locks and listings, MiB", f"{highest.small / MIB:.1f}"],
           ["blobs that were there together over the limit, MiB", f"{max(over, 0) / MIB:.1f}"],
           ["samples with blobs over the limit", sum(each.sure > limit for each in shared.samples)],
           ["samples with blobs and partial files over the limit",
            sum(each.sure + each.partial > limit for each in shared.samples)],
           ["samples", len(shared.samples)],
           ["mean bytes on disk, MiB", f"{statistics.mean(s.total for s in shared.samples) / MIB:.0f}"],
           ["highest bytes leased, MiB", f"{max(s.held for s in shared.samples) / MIB:.0f}"],
           ["asked for, GiB", f"{shared.asked * options.repo / 1024:.1f}"],
           ["snapshots evicted", shared.evictions],
           ["servers killed", shared.kills],
           ["looks at leased files", shared.checks],
           ["leased files lost", len(shared.lost)],
           ["NO_SPACE while leases left room, as seen here", len(shared.early)],
           ["NO_SPACE while leases left room, as its message says", shared.unsaid],
           ["s per answer, median", f"{statistics.median(shared.took):.2f}"],
           ["s per answer, longest", f"{max(shared.took):.1f}"],
           ["warnings of the client's scanner", len(left)],
           *[[f"calls: {name}", count] for name, count in sorted(shared.outcomes.items())]])
    for line in [*shared.lost[:10], *left[:5]]:
        print(f"  {line}")
    for message, count in shared.messages.most_common(4):
        print(f"  {count} times: {message}")
    for held, needed, message in shared.early[:5]:
        print(f"  leased {held / MIB:.0f} MiB, needed {needed / MIB:.0f} MiB: {message}")


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/run enforcement", description=__doc__)
    parser.add_argument("--limit", type=int, default=2048, help="MiB of the cache")
    parser.add_argument("--repos", type=int, default=160)
    parser.add_argument("--repo", type=int, default=128, help="MiB of each")
    parser.add_argument("--files", type=int, default=4, help="of each repo")
    parser.add_argument("--callers", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--kill-every", type=int, default=30, help="seconds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--argument", action="append", default=[], help="of hubcached")
    parser.add_argument("--dir", help="the volume; default: the system's temporary directory")
    options = parser.parse_args()
    with temp_dir(None) as stubs:
        options.pb = world.make_stubs(stubs)
        report(*run(options))


if __name__ == "__main__":
    main()
