# SPDX-License-Identifier: Apache-2.0
"""The table of faults. Each acts on downloads of a file over one connection and of one over many,
at offsets drawn from the number of the run. Afterwards, without the fault, a download must
succeed; and no visible bytes may be wrong at any time."""

import collections
import contextlib
import dataclasses
import os
import pathlib
import random
from statistics import mean
import subprocess

import grpc

from fault_cases import CASES, stalled
from figures import MIB, table, temp_dir
from truth import hash_of, pointers_of, wrong_files
import world

REPO = "bench/faults"
SIZES = {"one.safetensors": 16 * MIB, "many.safetensors": 160 * MIB}
ROOM = 512 * MIB  # of the small disk


@dataclasses.dataclass(frozen=True)
class Outcome:
    often: str
    first: str  # "right", or the reason of the failure
    afterwards: str  # the same for a second call, without the fault
    wrong: list
    gets: int  # of the storage
    again: float  # bytes of the storage beyond the file's, in files
    expected: str


class Setting:
    """A cold cache below `folder`, a hubcached on it, and a file to ask for."""

    def __init__(self, hub, options, folder, number):
        self.hub, self.pb = hub, options.pb
        self.cache = folder / "hub"
        self.file = list(SIZES)[number % len(SIZES)]
        self.draw = random.Random(number)
        self.server, self.environment = None, {}

    def start(self, environment=None):
        self.environment = environment or self.environment
        self.server = world.Server(self.pb, self.cache, self.hub.endpoint,
                                   arguments=["--log-level", "error"],
                                   environment=self.environment)

    def ask(self):
        return self.answer_of(self.server.start("ResolveFile", repo_id=REPO,
                                                filename=self.file))

    def answer_of(self, call):
        try:
            file = call.result().file
        except grpc.RpcError as error:
            return self.refusal(error)
        return "right" if hash_of(file.path) == file.etag else "WRONG"

    def refusal(self, error):
        if pointers_of(self.cache):
            return "VISIBLE"
        try:
            return world.reason_of(error)[0]
        except KeyError:  # no details: the server is gone
            return error.code().name

    def let_go(self):
        """Ends the fault."""
        self.hub.clear_rules()
        self.hub.release()

    def outcome(self, often, first, expected):
        self.let_go()
        wrong = wrong_files(self.cache)
        afterwards = self.ask()
        gets = [request.bytes for request in self.hub.log() if request.port == "cdn"]
        return Outcome(often, first, afterwards, wrong + wrong_files(self.cache), len(gets),
                       sum(gets) / SIZES[self.file] - 1, expected)


@contextlib.contextmanager
def setting(hub, options, number, folder=None):
    """In a new directory, or in `folder`."""
    with temp_dir(options.dir) if not folder else contextlib.nullcontext(folder) as below:
        hub.clear_log()
        made = Setting(hub, options, below, number)
        try:
            yield made
        finally:
            made.let_go()
            if made.server:
                made.server.stop()


def run_case(case, hub, options, number):
    with setting(hub, options, number) as at:
        at.start(case.environment)
        often = case.inject(hub, at.draw)
        return at.outcome(often, at.ask(), case.expected)


def run_killed(hub, options, number):
    """kill -9 during a download, and another hubcached on the same cache."""
    with setting(hub, options, number) as at:
        at.start()
        stalled(hub, at.draw)
        call = at.server.start("ResolveFile", repo_id=REPO, filename=at.file)
        hub.await_stall()
        at.server.kill()
        call.exception()
        at.let_go()
        at.start()
        return at.outcome("1 kill", at.ask(), "right")


@contextlib.contextmanager
def small_disk(options):
    with temp_dir(options.dir) as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", folder],
                       check=True)
        try:
            yield folder
        finally:
            subprocess.run(["umount", folder], check=True)


def free(folder):
    room = os.statvfs(folder)
    return room.f_bavail * room.f_frsize


def fill(folder, leaving):
    """Fills the disk but for `leaving` bytes, while other processes write to it too."""
    ballast = pathlib.Path(folder, "ballast")
    with contextlib.suppress(OSError), open(ballast, "wb", buffering=0) as file:
        while free(folder) > leaving:
            file.write(bytes(MIB))
    return ballast


def run_full(hub, options, number):
    """There is no free space from the start."""
    with small_disk(options) as folder, setting(hub, options, number, folder) as at:
        at.start()
        ballast = fill(folder, SIZES[at.file] // 2)
        first = at.ask()
        ballast.unlink()
        return at.outcome("all along", first, "NO_SPACE")


def run_filling(hub, options, number):
    """Another process takes the free space during the download."""
    with small_disk(options) as folder, setting(hub, options, number, folder) as at:
        at.start()
        stalled(hub, at.draw)
        call = at.server.start("ResolveFile", repo_id=REPO, filename=at.file)
        hub.await_stall()
        ballast = fill(folder, MIB)
        at.let_go()
        first = at.answer_of(call)
        ballast.unlink()
        return at.outcome("in mid-flight", first, "NO_SPACE")


SPECIAL = [("kill -9 in mid-flight", run_killed), ("disk full from the start", run_full),
           ("disk full in mid-flight", run_filling)]


@contextlib.contextmanager
def hub_with_files():
    with world.Hub() as hub:
        for number, (name, size) in enumerate(SIZES.items()):
            hub.control("add-made-up", b"", path=name, size=size, seed=number, lfs=1)
        hub.control("commit", b"", repo=f"models/{REPO}", revision="main")
        yield hub


def count(words):
    return ", ".join(f"{word} {times}" for word, times in
                     sorted(collections.Counter(words).items()))


def row(name, outcomes):
    return [name, len(outcomes), outcomes[0].often, count(each.first for each in outcomes),
            f"{mean(each.gets for each in outcomes):.1f}",
            f"{mean(each.again for each in outcomes):.2f}",
            count(each.afterwards for each in outcomes), lost(outcomes), wrong(outcomes)]


def lost(outcomes):
    return sum(each.afterwards != "right" for each in outcomes)


def wrong(outcomes):
    return sum(bool(each.wrong) or each.first in ("WRONG", "VISIBLE") for each in outcomes)


def problems_of(name, outcomes):
    found = [f"faults, {name}: {what} {times} times" for what, times in
             (("lost", lost(outcomes)), ("wrong", wrong(outcomes))) if times]
    return found + [f"faults, {name}: {each.first} in place of {each.expected}"
                    for each in outcomes if each.expected not in ("right", each.first)]


def runs_of_all():
    """(name, a function of hub, options and run number) of every fault."""
    for case in CASES:
        yield case.name, lambda *given, case=case: run_case(case, *given)
    for name, run in SPECIAL:
        if "disk" in name and os.geteuid() != 0:
            print(f"  left out, for it takes root to mount a small disk: {name}")
            continue
        yield name, run


def faults(options):
    with hub_with_files() as hub:
        outcomes = {name: [run(hub, options, number) for number in range(options.repeats)]
                    for name, run in runs_of_all()}
    table(f"faults: {options.repeats} runs each, files of "
          f"{' and '.join(str(size // MIB) for size in SIZES.values())} MiB in turn",
          ["fault", "runs", "how often", "outcome", "GETs", "files fetched again",
           "asked again without it", "lost", "wrong"],
          [row(name, each) for name, each in outcomes.items()])
    return [problem for name, each in outcomes.items() for problem in problems_of(name, each)]
