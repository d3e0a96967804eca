# SPDX-License-Identifier: Apache-2.0
"""One large file: unthrottled, at a rate on each connection, and over TLS."""

import contextlib
import hashlib
import os
import time

from competitors import COMPETITORS, Download, NAME, REPO
from figures import MIB, Failed, at_least, at_most, measure, median, table, temp_dir
from storage import Storage
import world

OURS = ("hubcache in process", "hubcached + hubcache")
CONNECTIONS = 16  # the default of hubcached
RSS_AIM = 64


def make_file(path, size):
    """Writes bytes that do not repeat; returns their hash."""
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        while size > 0:
            block = os.urandom(min(size, MIB))
            digest.update(block)
            file.write(block)
            size -= len(block)
    return digest.hexdigest()


class LargeFile:
    """A file on the storage, and a hub that redirects all clients to it."""

    def __init__(self, storage, size, digest, pb):
        self.storage, self.size, self.digest, self.pb = storage, size, digest, pb
        folder = storage.folder / "repos/models" / REPO / "main"
        folder.mkdir(parents=True)
        os.link(storage.www / "file", folder / NAME)
        self.hub = world.Hub(storage.folder / "repos", "--no-xet")

    def download(self, kind, out):
        url = self.storage.url(kind, "file")
        self.hub.clear_rules()
        self.hub.rule("header", contains="/resolve/", name="Location", text=url)
        return Download(url, self.size, self.digest, self.hub.endpoint, out,
                        self.storage.ca_env() if kind == "tls" else {}, self.pb)

    def cost(self, name, kind):
        with temp_dir(self.storage.folder) as out:
            return COMPETITORS[name][1](self.download(kind, out))


@contextlib.contextmanager
def random_file(options):
    with temp_dir(options.dir) as folder, Storage(folder, options.rate) as storage:
        size = options.size * MIB
        digest = make_file(storage.www / "file", size)
        file = LargeFile(storage, size, digest, options.pb)
        try:
            yield file
        finally:
            file.hub.stop()


def has_failed(costs):
    return isinstance(costs[0], Failed) if costs else False


def costs_of(file, kind, rounds):
    """{competitor: Cost}, or why there is none. Each runs once in each round. The first round does
    not count, because memory that a machine has never used is slow."""
    found = {name: [] for name in COMPETITORS}
    file.cost("curl | tee | sha256sum", "plain")
    for _ in range(rounds):
        for name in [name for name in COMPETITORS if not has_failed(found[name])]:
            try:
                found[name].append(file.cost(name, kind))
            except Failed as failure:
                found[name] = [failure]
    return {name: each[0] if has_failed(each) else median(each) for name, each in found.items()}


def show(title, file, costs):
    base = costs["curl -o"].wall
    rows = []
    for name, cost in costs.items():
        if isinstance(cost, Failed):
            rows.append([name, "", "", "", "", "", f"not measured: {cost}"])
            continue
        rows.append([name, f"{cost.wall:.2f}", f"{file.size / MIB / cost.wall:.0f}",
                     f"{cost.cpu:.2f}", f"{cost.rss:.1f}", f"{cost.wall / base:.2f}",
                     COMPETITORS[name][0]])
    table(title, ["", "wall s", "MiB/s", "CPU s", "RSS MiB", "wall / curl", "verifies"], rows)


def aim_at_memory(part, costs):
    for name in OURS:
        at_most(f"{part}: peak RSS of {name}", RSS_AIM, costs[name].rss, " MiB")


def serving(file, kind):
    """The processor seconds that nginx needs for one download."""
    before = file.storage.cpu()
    file.cost("curl -o", kind)
    return file.storage.cpu() - before


def unthrottled(part, kind, options):
    with random_file(options) as file:
        costs = costs_of(file, kind, options.rounds)
        served = serving(file, kind)
        path = file.storage.www / "file"
        hashing = median([measure(["openssl", "dgst", "-sha256", path])
                          for _ in range(options.rounds)])
        show(f"{part}: {options.size} MiB, {kind}, into {options.dir}", file, costs)
    curl, pipe = costs["curl -o"], costs["curl | tee | sha256sum"]
    floor = (curl.cpu + hashing.cpu + served) / os.cpu_count()
    print(f"  the hash alone, openssl dgst: {hashing.wall:.2f} s wall, {hashing.cpu:.2f} s CPU")
    print(f"  the work alone, curl's, the hash's and nginx's {served:.2f} s, on all processors: "
          f"{floor:.2f} s, {floor / curl.wall:.2f} of curl -o")
    for name in OURS:
        cost = costs[name]
        at_most(f"{part}: wall of {name} / curl -o", 1.05, cost.wall / curl.wall)
        at_most(f"{part}: wall of {name} / curl | tee | sha256sum", 0.8,
                cost.wall / pipe.wall)
        at_most(f"{part}: CPU of {name} / (curl + the hash)", 1.0,
                cost.cpu / (curl.cpu + hashing.cpu))
    aim_at_memory(part, costs)


def large(options):
    unthrottled("large", "plain", options)


def tls(options):
    unthrottled("tls", "tls", options)


def disk_rate(source, folder):
    """MiB/s of a copy that ends with fsync."""
    target = folder / "copy"
    start = time.perf_counter()
    measure(["dd", f"if={source}", f"of={target}", "bs=1M", "conv=fsync"])
    took = time.perf_counter() - start
    target.unlink()
    return source.stat().st_size / MIB / took


def bytes_of(rate):
    """nginx's "50m" in MiB."""
    return float(rate[:-1]) * {"k": 1 / 1024, "m": 1, "g": 1024}[rate[-1].lower()]


def throttled(options):
    with random_file(options) as file:
        costs = costs_of(file, "slow", options.rounds)
        disk = disk_rate(file.storage.www / "file", file.storage.folder)
        show(f"throttled: {options.size} MiB, {options.rate} a second on each connection",
             file, costs)
    possible = min(CONNECTIONS * bytes_of(options.rate), disk)
    print(f"  possible: {possible:.0f} MiB/s, the less of {CONNECTIONS} connections and "
          f"the disk ({disk:.0f} MiB/s)")
    for name in OURS:
        at_least(f"throttled: rate of {name} / possible", 0.9,
                 options.size / costs[name].wall / possible)
    aim_at_memory("throttled", costs)
