# SPDX-License-Identifier: Apache-2.0
"""A cold snapshot that a whole fleet asks for at once: callers of three hubcached, and four Python
clients, on one cache directory, with flock and without. How often is each byte fetched?"""

import contextlib
import dataclasses
import os
import subprocess
import sys
import time

import grpc

from figures import MIB, at_most, peak_of, table, temp_dir
from truth import pointers_of, wrong_files
import world

REPO = "bench/fleet"
SERVERS, PYTHONS, LARGE, SMALL = 3, 4, 16, 20
PAUSE = 1000  # ms before the storage answers, so that all callers wait by then
LIMIT = 30  # seconds that a Python client may take longer than the callers
COMPLETE = 1

BROKEN = {"LD_PRELOAD": str(world.BUILD / "tests/support/libbroken_flock.so")}
LOCKS = {"flock works": {},
         "flock does nothing": BROKEN,
         "flock is ENOSYS": BROKEN | {"BROKEN_FLOCK": "ENOSYS"},
         "flock is EOPNOTSUPP": BROKEN | {"BROKEN_FLOCK": "EOPNOTSUPP"}}


@dataclasses.dataclass(frozen=True)
class Outcome:
    took: float
    paths: list  # the answers to the callers of hubcached; None for a failure
    failures: list  # of the callers of hubcached
    pythons: list  # replies of the Python clients
    wrong: list
    missing: int
    sent: int
    requests: int
    rss: float


@contextlib.contextmanager
def hub_with(size):
    with world.Hub() as hub:
        for number in range(LARGE):
            hub.control("add-made-up", b"", path=f"model-{number:02}.safetensors",
                        size=size // LARGE, seed=number, lfs=1)
        hub.commit(f"models/{REPO}", {f"small-{number}.json": b"{}" + bytes([number])
                                      for number in range(SMALL)})
        hub.rule("delay", on_cdn=True, number=PAUSE)
        yield hub


@contextlib.contextmanager
def servers_on(cache, hub, pb, environment):
    servers = [world.Server(pb, cache, hub.endpoint, arguments=["--log-level", "error"],
                            environment=environment) for _ in range(SERVERS)]
    try:
        yield servers
    finally:
        for server in servers:
            server.stop()


def start_pythons(hub, cache, environment):
    oracle = world.Oracle("newest", sys.executable)
    call = ("snapshot_download", {"repo_id": REPO, "cache_dir": str(cache)})
    started = [oracle.start(call, endpoint=hub.endpoint, environment=environment)
               for _ in range(PYTHONS)]
    hub.await_requests(PYTHONS, contains="/revision/")
    return lambda: replies_of(oracle, started)


def replies_of(oracle, started):
    end = time.monotonic() + LIMIT
    return [reply_of(oracle, one, max(0, end - time.monotonic())) for one in started]


def reply_of(oracle, started, patience):
    """Where flock is ENOSYS, Python clients lock by the existence of a file, and wait for ever."""
    process, reader = started
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        os.close(reader)
        return {"error": "Timeout", "message": f"not done {LIMIT} s after the others"}
    return oracle.finish(started)[0]


def answer_of(call):
    """(path, failure), one of them None."""
    try:
        answer = call.result()
    except grpc.RpcError as error:
        return None, f"{error.code().name}: {error.details()}"
    if answer.completeness != COMPLETE:
        return None, f"completeness {answer.completeness}"
    return answer.path, None


def ask_all(hub, cache, options, environment):
    """(answers, replies of the Pythons, the servers' peak memory)."""
    with servers_on(cache, hub, options.pb, environment) as servers:
        finish = start_pythons(hub, cache, environment)
        calls = [servers[number % SERVERS].start("ResolveSnapshot", repo_id=REPO)
                 for number in range(options.callers)]
        answers = [answer_of(call) for call in calls]
        replies = finish()
        rss = max(peak_of(server.process.pid) for server in servers)
    return answers, replies, rss


def run(options, environment):
    with temp_dir(options.dir) as folder, hub_with(options.snapshot * MIB) as hub:
        cache = folder / "hub"
        start = time.perf_counter()
        answers, replies, rss = ask_all(hub, cache, options, environment)
        took = time.perf_counter() - start
        log = hub.log()
        sent = sum(request.bytes for request in log if request.port == "cdn")
        missing = LARGE + SMALL - len(pointers_of(cache))
        return Outcome(took, [path for path, _ in answers], [why for _, why in answers if why],
                       replies, wrong_files(cache), missing, sent, len(log), rss)


def problems_of(name, outcome):
    """A Python client may fail where it cannot lock, but must not return another answer."""
    told = {reply["result"] for reply in outcome.pythons if "result" in reply}
    found = [f"fleet, {name}: {why}" for why in sorted(set(outcome.failures))]
    found += [f"fleet, {name}: {file} is wrong" for file in outcome.wrong]
    if outcome.missing:
        found.append(f"fleet, {name}: {outcome.missing} files are missing")
    if len(told | set(outcome.paths)) != 1:
        found.append(f"fleet, {name}: callers were told different paths")
    return found


def fleet(options):
    outcomes = {name: run(options, environment) for name, environment in LOCKS.items()}
    size = options.snapshot * MIB
    table(f"fleet: {options.callers} callers over {SERVERS} hubcached, {PYTHONS} Python clients, "
          f"a cold snapshot of {options.snapshot} MiB",
          ["", "CDN bytes / size", "requests", "answers", "failures", "Python failures",
           "files wrong", "files missing", "s", "RSS MiB"],
          [[name, f"{each.sent / size:.2f}", each.requests, len(each.paths), len(each.failures),
            sum("error" in reply for reply in each.pythons), len(each.wrong), each.missing,
            f"{each.took:.1f}", f"{each.rss:.1f}"] for name, each in outcomes.items()])
    for why in sorted({reply["message"] for each in outcomes.values()
                       for reply in each.pythons if "error" in reply}):
        print(f"  Python fails: {why}")
    whole = outcomes["flock works"]
    at_most("fleet: CDN bytes / snapshot", 1.0, whole.sent / size)
    at_most("fleet: peak RSS of a hubcached", 64, whole.rss, " MiB")
    return [problem for name, each in outcomes.items() for problem in problems_of(name, each)]
