# SPDX-License-Identifier: Apache-2.0
"""Many small files, beside snapshot_download with its default workers: without a pause, and with
one before each answer."""

import contextlib
import dataclasses
import math
import random
import sys

from competitors import CLIENT
from figures import Cost, at_least, at_most, cpu_of, measure, peak_of, table, temp_dir
import sockets
import world

REPO, SIZE, PAGE = "bench/small", 4096, 1000

SNAPSHOT = """
import sys, time
from huggingface_hub import snapshot_download
start = time.perf_counter()
snapshot_download(sys.argv[1], cache_dir=sys.argv[2])
print(time.perf_counter() - start)
"""


@dataclasses.dataclass(frozen=True)
class Run:
    cost: Cost
    requests: int  # redirects apart
    trips: int  # with them
    connections: int


@contextlib.contextmanager
def hub_with(count):
    """A hub with a repo of `count` files, none of them LFS."""
    draw = random.Random(count)
    with world.Hub() as hub:
        hub.commit(f"models/{REPO}", {f"part-{number:05}.txt": draw.randbytes(SIZE)
                                      for number in range(count)})
        yield hub


def ours(hub, cache, pb):
    server = world.Server(pb, cache, hub.endpoint, arguments=["--log-level", "error"])
    try:
        pid = server.process.pid
        before = cpu_of(pid)
        cost = measure([world.program("hubcache"), "--server", server.address, "snapshot", REPO,
                        "--quiet"])
        return cost.with_server(cpu_of(pid) - before, peak_of(pid))
    finally:
        server.stop()


def theirs(hub, cache, _):
    """The call alone, without the start of Python."""
    cost = measure([sys.executable, "-c", SNAPSHOT, REPO, cache],
                   CLIENT | {"HF_ENDPOINT": hub.endpoint})
    return dataclasses.replace(cost, wall=float(cost.output.split()[-1]))


def run(hub, way, options):
    hub.clear_log()
    with temp_dir(options.dir) as folder, sockets.watched(hub.endpoint) as watch:
        cost = way(hub, folder / "hub", options.pb)
        assert len(world.blobs_of(folder / "hub")) == options.files, "all files are there"
    statuses = [request.status for request in hub.log()]
    redirects = sum(status in (302, 307) for status in statuses)
    return Run(cost, len(statuses) - redirects, len(statuses), watch.peak)


def show(title, runs, columns=()):
    rows = [[name, f"{run.cost.wall:.2f}", f"{run.cost.cpu:.2f}", f"{run.cost.rss:.1f}",
             run.requests, run.trips, run.connections, *(value(run) for _, value in columns)]
            for name, run in runs.items()]
    table(title, ["", "wall s", "CPU s", "RSS MiB", "requests", "with redirects",
                  "connections",
                  *(name for name, _ in columns)], rows)


def both(hub, options):
    return {"hubcache snapshot": run(hub, ours, options),
            "snapshot_download": run(hub, theirs, options)}


def small(options):
    with hub_with(options.files) as hub:
        runs = both(hub, options)
    mine, other = runs.values()
    show(f"small: {options.files} files of {SIZE} bytes", runs)
    pages = math.ceil(options.files / PAGE)
    at_least("small: snapshot_download / hubcache", 5, other.cost.wall / mine.cost.wall)
    at_most("small: requests to the hub", options.files + pages + 1, mine.requests)
    at_most("small: peak RSS of hubcached", 64, mine.cost.rss, " MiB")


def latency(options):
    """The ideal: the listing's round trips one after the other, then the files', as many at a
    time as there are connections, and nothing takes longer than the pause."""
    pause = options.latency / 1000
    before = 1 + math.ceil(options.files / PAGE)

    def ideal(run):
        return (before + math.ceil((run.trips - before) / run.connections)) * pause

    with hub_with(options.files) as hub:
        hub.rule("delay", number=options.latency)
        runs = both(hub, options)
    show(f"latency: the same with {options.latency} ms before each answer", runs,
         [("ideal s", lambda run: f"{ideal(run):.2f}"),
          ("measured / ideal", lambda run: f"{run.cost.wall / ideal(run):.2f}")])
    mine = runs["hubcache snapshot"]
    at_most("latency: measured / ideal", 1.3, mine.cost.wall / ideal(mine))
    at_most("latency: peak RSS of hubcached", 64, mine.cost.rss, " MiB")
