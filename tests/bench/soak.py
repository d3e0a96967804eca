# SPDX-License-Identifier: Apache-2.0
"""hubcached under mixed calls for a long time: `tests/bench/run soak`. Faults of the Hub come and go,
certificates, keys and tokens are replaced, callers of all kinds come and leave. Memory,
descriptors and threads are sampled; the last lines say whether they grew, whether an outcome
was none of those that its kind of call may have, and what a sanitizer found. With
HUBCACHE_BUILD=build/asan the memory is that of the sanitizer, too."""

import argparse
import collections
import hashlib
import itertools
import os
import random
import shutil
import socket
import statistics
import subprocess
import threading
import time
import urllib.error
import urllib.request

import grpc

from fault_cases import CASES
from figures import MIB, cpu_of, server_named, status_of, table, temp_dir
from pki import Authority, TokenKey, key_set, put
import world

HITS, FILES = "bench/hits", 42
LARGE, LARGE_SIZE = "large.safetensors", 4 * MIB
MISSES, MISS_SIZE = 8, 6 * MIB  # repos, and the size of the file of each
ISSUER, AUDIENCE = "https://issuer.example", "hubcache"
THREADS = 12
AT_ONCE = 300  # calls at the start
FAULT_S, ROTATION_S = 8, 15  # how long a fault and the time without one take, and files last
DEADLINE = 25  # of a call, in seconds
SAMPLES = 180  # at least, if the run is shorter than half an hour
GROWTH = {"RSS MiB": (0.05, 2), "in use MiB": (0.05, 1), "descriptors": (0.05, 3), "threads": (0.05, 4)}

# What a call that needs the Hub may be told while the Hub or the storage misbehaves.
FAULTS = {"ok", "HUB_UNREACHABLE", "HUB_RATE_LIMITED", "CHECKSUM_MISMATCH", "BAD_HUB_REPLY",
          "BUSY", "CANCELLED", "DEADLINE_EXCEEDED", "NOT_CACHED", "HUB_UNAUTHORIZED",
          "GATED_REPO"}


def reason_of(error):
    try:
        return world.reason_of(error)[0]
    except (KeyError, AssertionError):
        return error.code().name


def sha256_line(name, secret):
    return f"{name} sha256:{hashlib.sha256(secret.encode()).hexdigest()}\n"


# --- credentials ---------------------------------------------------------------------------


class Credentials:
    """The files that hubcached reads, and what callers show. The newest two of each are good."""

    def __init__(self, folder):
        self.folder, self.number = folder, itertools.count()
        self.authority = Authority(folder)
        self.keys, self.tokens = [], []
        self.client = self.authority.issue("URI:spiffe://bench/caller")
        self.rotate()

    def rotate(self):
        number = next(self.number)
        self.server_files = self.authority.issue("DNS:localhost,IP:127.0.0.1").swap(
            self.folder / "server")
        self.keys = [TokenKey(self.folder, f"key-{number}"), *self.keys[:1]]
        put(self.folder / "keys.json", key_set(*self.keys))
        self.tokens = [f"secret-{number}", *self.tokens[:1]]
        put(self.folder / "tokens", "".join(
            sha256_line(f"caller-{at}", secret) for at, secret in enumerate(self.tokens)).encode())
        now = int(time.time())
        self.jwt = self.keys[-1].sign(iss=ISSUER, aud=AUDIENCE, sub=f"caller-{number}", iat=now,
                                      exp=now + 3600)
        for old in self.folder.glob("*.jwt.key"):
            if old not in [key.path for key in self.keys]:
                old.unlink()

    def options(self):
        cert, key = self.server_files
        return ["--auth-tokens", self.folder / "tokens", "--auth-jwt-issuer", ISSUER,
                "--auth-jwt-audience", AUDIENCE, "--auth-jwt-keys", self.folder / "keys.json",
                "--tls-cert", cert, "--tls-key", key, "--tls-client-ca", self.authority.path,
                "--tls-client-optional"]

    def metadata(self, draw):
        """Of the uid, a token, or a JWT."""
        bearer = draw.choice([None, self.tokens[-1], self.jwt])
        return [("authorization", f"Bearer {bearer}")] if bearer else []

    def channel(self, address, shows_certificate):
        pair = [self.client.key, self.client.cert] if shows_certificate else [None, None]
        return grpc.secure_channel(address, grpc.ssl_channel_credentials(
            self.authority.path.read_bytes(), *pair))


# --- calls ---------------------------------------------------------------------------------


class Callers:
    """Each method is a kind of call, and returns its outcome."""

    def __init__(self, options, hub, server, credentials):
        self.hub, self.server, self.pb, self.credentials = hub, server, options.pb, credentials

    def ask(self, draw, method, metadata=None, timeout=DEADLINE, **fields):
        request = getattr(self.pb, method + "Request")(**fields)
        return getattr(self.server.stub, method)(
            request, timeout=timeout,
            metadata=self.credentials.metadata(draw) if metadata is None else metadata)

    def hit(self, draw):
        self.ask(draw, "ResolveFile", repo_id=HITS, filename=f"file-{draw.randrange(FILES)}")

    def files(self, draw):
        self.ask(draw, "ResolveFiles", repo_id=HITS,
                 filenames=[f"file-{number}" for number in draw.sample(range(FILES), 5)])

    def snapshot(self, draw):
        self.ask(draw, "ResolveSnapshot", repo_id=HITS, list_files=draw.random() < 0.5)

    def snapshot_of_patterns(self, draw):
        """Few patterns: each has an entry in a memory whose bound, 48 MiB, takes days to fill."""
        self.ask(draw, "ResolveSnapshot", repo_id=HITS, allow_patterns=[f"*{draw.randrange(200)}"])

    def watch(self, draw):
        inner = self.pb.ResolveSnapshotRequest(repo_id=HITS, list_files=True)
        for _ in self.ask(draw, "WatchSnapshot", snapshot=inner):
            pass

    def read(self, draw):
        file = self.pb.ResolveFileRequest(repo_id=HITS, filename=LARGE)
        digest, etag = hashlib.sha256(), None
        for message in self.ask(draw, "ReadFile", file=file):
            etag = message.file.etag if message.HasField("file") else etag
            digest.update(message.data)
        return "ok" if digest.hexdigest() == etag else "WRONG BYTES"

    def read_abandoned(self, draw):
        file = self.pb.ResolveFileRequest(repo_id=HITS, filename=LARGE)
        call = self.ask(draw, "ReadFile", file=file)
        next(call)
        call.cancel()

    def info(self, draw):
        self.ask(draw, "GetServerInfo")

    def invalid(self, draw):
        self.ask(draw, "ResolveFile", repo_id=f"../{draw.random()}", filename="x")

    def absent(self, draw):
        self.ask(draw, "ResolveFile", repo_id=HITS, filename=f"absent-{draw.random()}")

    def absent_repo(self, draw):
        self.ask(draw, "ResolveFile", repo_id=f"bench/absent-{draw.randrange(10 ** 9)}",
                 filename="x")

    def wrong_token(self, draw):
        self.ask(draw, "GetServerInfo", [("authorization", f"Bearer wrong-{draw.random()}")])

    def wrong_jwt(self, draw):
        head, claims, signature = self.credentials.jwt.split(".")
        wrong = f"{head}.{claims}.{signature[:-4]}{draw.randrange(1000, 10000)}"
        self.ask(draw, "GetServerInfo", [("authorization", f"Bearer {wrong}")])

    def miss(self, draw, **options):
        """Of a repo that another client has removed, every other time."""
        number = draw.randrange(MISSES)
        if draw.random() < 0.5:
            shutil.rmtree(self.server.cache / f"models--bench--miss-{number}",
                          ignore_errors=True)
        self.ask(draw, "ResolveFile", repo_id=f"bench/miss-{number}", filename=LARGE, **options)

    def miss_with_deadline(self, draw):
        self.miss(draw, timeout=draw.choice([0.003, 0.02, 0.1]))

    def forced(self, draw):
        self.ask(draw, "ResolveFile", repo_id=f"bench/miss-{draw.randrange(MISSES)}",
                 filename=LARGE, options=self.pb.FetchOptions(force_download=True))

    def miss_abandoned(self, draw):
        request = self.pb.ResolveFileRequest(
            repo_id=f"bench/miss-{draw.randrange(MISSES)}", filename=LARGE,
            options=self.pb.FetchOptions(force_download=True))
        call = self.server.stub.ResolveFile.future(request, timeout=DEADLINE,
                                                   metadata=self.credentials.metadata(draw))
        time.sleep(draw.random() / 20)
        call.cancel()

    def tls_connection(self, draw):
        with self.credentials.channel(self.server.address, draw.random() < 0.5) as channel:
            stub = self.pb.grpc.ResolverStub(channel)
            stub.GetServerInfo(self.pb.GetServerInfoRequest(), timeout=DEADLINE,
                               metadata=self.credentials.metadata(draw))

    def plaintext_connection(self, draw):
        with grpc.insecure_channel(self.server.address) as channel:
            stub = self.pb.grpc.ResolverStub(channel)
            stub.GetServerInfo(self.pb.GetServerInfoRequest(), timeout=DEADLINE)

    def handshake_cut(self, draw):
        host, port = self.server.address.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=DEADLINE) as connection:
            connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00" + draw.randbytes(20))
            time.sleep(draw.random() / 10)

    def metrics(self, _):
        for path in "metrics", "healthz", "":
            try:
                urllib.request.urlopen(f"{self.server.http}/{path}", timeout=DEADLINE).read()
            except urllib.error.HTTPError as error:
                if error.code not in (401, 503):
                    raise

    def command(self, draw):
        done = world.hubcache(
            "--tls-ca", str(self.credentials.authority.path), "file", HITS,
            f"file-{draw.randrange(FILES)}", server=self.server)
        return "ok" if done.returncode == 0 else done.stderr.strip()[:200]


# Kind, how often, and the outcomes that it may have; "ok" if there are none.
KINDS = [
    ("hit", 12, ()), ("files", 3, ()), ("snapshot", 5, ()), ("snapshot_of_patterns", 1, ()),
    ("watch", 2, ()), ("read", 2, ()), ("read_abandoned", 2, ()), ("info", 1, ()),
    ("invalid", 1, ("INVALID_REPO_ID",)), ("absent", 2, FAULTS | {"ENTRY_NOT_FOUND"}),
    ("absent_repo", 1, FAULTS | {"REPO_NOT_FOUND"}),
    ("wrong_token", 1, ("CALLER_UNAUTHENTICATED",)),
    ("wrong_jwt", 1, ("CALLER_UNAUTHENTICATED",)),
    ("miss", 3, FAULTS), ("miss_with_deadline", 2, FAULTS), ("forced", 1, FAULTS),
    ("miss_abandoned", 2, FAULTS), ("tls_connection", 3, ()),
    ("plaintext_connection", 1, ("UNAVAILABLE",)), ("handshake_cut", 1, ()), ("metrics", 1, ()),
    ("command", 1, ()),
]


class Load:
    """Threads that make calls, at a rate that all of them share."""

    def __init__(self, options, callers):
        self.callers, self.pause = callers, THREADS / options.rate
        self.kinds = [row for row in KINDS if not options.only or row[0] in options.only]
        self.outcomes = collections.Counter()
        self.must_end, self.lock = threading.Event(), threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(random.Random(options.seed + n),))
                        for n in range(THREADS)]
        for thread in self.threads:
            thread.start()

    def run(self, draw):
        weights = [often for _, often, _ in self.kinds]
        while not self.must_end.wait(self.pause * (0.5 + draw.random())):
            kind = draw.choices(self.kinds, weights)[0][0]
            try:
                outcome = getattr(self.callers, kind)(draw) or "ok"
            except grpc.RpcError as error:
                outcome = reason_of(error)
            except grpc.FutureCancelledError:
                outcome = "CANCELLED"
            except Exception as error:  # of the HTTP client and of sockets; the load goes on
                outcome = f"{type(error).__name__}: {error}"
            with self.lock:
                self.outcomes[kind, outcome] += 1

    def end(self):
        self.must_end.set()
        for thread in self.threads:
            thread.join()


# --- what goes on beside the calls ---------------------------------------------------------


def every(seconds, must_end, function):
    def run():
        while not must_end.wait(seconds):
            function()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


class Faults:
    """Each call of the object begins a fault, or ends it."""

    def __init__(self, hub, seed):
        self.hub, self.draw, self.is_on, self.count = hub, random.Random(seed), False, 0

    def outage(self):
        self.hub.rule("close")

    def slow(self):
        self.hub.rule("delay", number=self.draw.choice([200, 3000]))

    def __call__(self):
        if self.is_on:
            self.hub.clear_rules()
            self.hub.release()
            self.hub.clear_log()
        else:
            self.count += 1
            self.draw.choice([self.outage, self.slow, *(
                lambda case=case: case.inject(self.hub, self.draw) for case in CASES)])()
        self.is_on = not self.is_on


class Samples:
    def __init__(self, server):
        self.server, self.pid = server, server.process.pid
        self.start, self.rows = time.monotonic(), []

    def allocated(self):
        """Memory in use; RSS has what the allocator keeps of it, too."""
        with urllib.request.urlopen(self.server.http + "/metrics", timeout=DEADLINE) as answer:
            text = answer.read().decode()
        return float(text.partition("\nhubcache_allocated_bytes ")[2].partition("\n")[0])

    def __call__(self):
        self.rows.append((time.monotonic() - self.start, status_of(self.pid, "VmRSS") / 1024,
                          self.allocated() / MIB,
                          len(os.listdir(f"/proc/{self.pid}/fd")),
                          status_of(self.pid, "Threads")))


# --- the verdict ---------------------------------------------------------------------------


def growth_rows(samples):
    """After a warm-up of a fifth: what, medians of the first and the last third, most, verdict."""
    settled = samples.rows[len(samples.rows) // 5:]
    third = max(len(settled) // 3, 1)
    rows = []
    for column, (what, (share, least)) in enumerate(GROWTH.items(), 1):
        values = [row[column] for row in settled]
        first, last = (statistics.median(part) for part in (values[:third], values[-third:]))
        grew = last - first > max(first * share, least)
        rows.append([what, f"{first:.1f}", f"{last:.1f}", f"{last - first:+.1f}",
                     f"{max(row[column] for row in samples.rows):.1f}",
                     "GREW" if grew else "no growth"])
    return rows


def unexpected(outcomes):
    may = {kind: set(allowed) or {"ok"} for kind, _, allowed in KINDS}
    return [(kind, outcome, count) for (kind, outcome), count in sorted(outcomes.items())
            if outcome not in may[kind]]


def outcome_rows(outcomes):
    by_kind = collections.defaultdict(list)
    for (kind, outcome), count in sorted(outcomes.items()):
        by_kind[kind].append(f"{outcome} {count}")
    return [[kind, ", ".join(by_kind[kind])] for kind, _, _ in KINDS if by_kind[kind]]


def server_end(server):
    """What was wrong with its end, in lines."""
    if server.process.poll() is not None:
        return [f"hubcached ended with {server.process.returncode} during the run",
                *server.log().splitlines()[-20:]]
    status = server.stop()
    said = [line for line in server.log().splitlines()
            if "Sanitizer" in line or "runtime error" in line or "WARNING: Thread" in line]
    return ([f"hubcached ended with {status}"] if status != 0 else []) + said


# --- the run -------------------------------------------------------------------------------


def fill(hub):
    hub.control("add-made-up", b"", path=LARGE, size=LARGE_SIZE, seed=1, lfs=1)
    hub.commit(f"models/{HITS}", {f"file-{number}": b"{}" + bytes([number])
                                  for number in range(FILES)})
    for number in range(MISSES):
        hub.control("add-made-up", b"", path=LARGE, size=MISS_SIZE, seed=number + 2, lfs=1)
        hub.control("commit", b"", repo=f"models/bench/miss-{number}", revision="main")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def serve(options, hub, folder, credentials):
    sanitizer = {"ASAN_OPTIONS": "quarantine_size_mb=8"} if not os.environ.get(
        "ASAN_OPTIONS") else {}
    path, http = f"unix:{folder}/socket", f"127.0.0.1:{free_port()}"
    server = world.Server(options.pb, folder / "cache", hub.endpoint, binary=options.server[1],
                          environment={"HF_HUB_DOWNLOAD_TIMEOUT": "2",
                                       "HF_HUB_ETAG_TIMEOUT": "2", **sanitizer},
                          arguments=["--log-level", "error", "--max-staleness", "1h", "--listen",
                                     path, "--http-listen", http,
                                     *map(str, credentials.options())])
    server.http = f"http://{http}"
    server.channel.close()
    server.channel = grpc.insecure_channel(path)
    server.stub = options.pb.grpc.ResolverStub(server.channel)
    server.ResolveSnapshot(repo_id=HITS)
    return server


def start_all_threads(server, hub):
    """hubcached starts threads as it needs them: more misses at once than there are workers."""
    hub.rule("delay", number=300)
    calls = [server.start("ResolveFile", repo_id=f"bench/first-{number}", filename="x")
             for number in range(AT_ONCE)]
    for call in calls:
        call.exception()
    hub.clear_rules()


def run(options, hub, folder):
    credentials = Credentials(folder)
    server = serve(options, hub, folder, credentials)
    start_all_threads(server, hub)
    pid = server.process.pid
    load = Load(options, Callers(options, hub, server, credentials))
    samples, faults, must_end = Samples(server), Faults(hub, options.seed), threading.Event()
    seconds = options.minutes * 60
    beside = [every(FAULT_S, must_end, faults), every(ROTATION_S, must_end, credentials.rotate),
              every(min(10, seconds / SAMPLES), must_end, samples)]
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.process.poll() is None:
        time.sleep(0.2)
    must_end.set()
    for thread in beside:
        thread.join()
    hub.clear_rules()
    hub.release()
    load.end()
    cpu = cpu_of(pid) if server.process.poll() is None else 0
    return report(samples, load, faults, cpu, server_end(server))


def report(samples, load, faults, cpu, ended):
    """Whether all was well."""
    rows = samples.rows[:: max(len(samples.rows) // 12, 1)]
    table("samples", ["minutes", *GROWTH],
          [[f"{row[0] / 60:.1f}", *(f"{value:.1f}" for value in row[1:])] for row in rows])
    table("outcomes", ["", ""], outcome_rows(load.outcomes))
    growth, wrong = growth_rows(samples), unexpected(load.outcomes)
    table("after a fifth of the time: medians of the first and the last third",
          ["", "first", "last", "growth", "most of all", ""], growth)
    print(f"\n{load.outcomes.total():,} calls, {faults.count} faults, {cpu:.0f} s of hubcached's "
          "processor time")
    for kind, outcome, count in wrong:
        print(f"UNEXPECTED: {kind}: {outcome} ({count} times)")
    for line in ended:
        print(f"AT THE END: {line}")
    is_well = not wrong and not ended and all(row[-1] == "no growth" for row in growth)
    print(f"verdict: {'passed' if is_well else 'FAILED'}: "
          + "; ".join(f"{row[0]} {row[1]} -> {row[2]} (most {row[4]}), {row[5]}" for row in growth)
          + f"; {sum(count for *_, count in wrong)} unexpected outcomes; "
          + ("a clean end" if not ended else "an end that was not clean"))
    return is_well


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/run soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=40, help="calls a second")
    parser.add_argument("--only", type=lambda text: text.split(","), metavar="KIND,...",
                        help="of " + ", ".join(kind for kind, *_ in KINDS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--server", type=server_named, metavar="PATH", help="a hubcached",
                        default=("hubcached", world.program("hubcached")))
    parser.add_argument("--dir", default="/dev/shm", help="for the cache, of some 60 MiB")
    options = parser.parse_args()
    with temp_dir(options.dir) as folder, world.Hub() as hub:
        options.pb = world.make_stubs(folder)
        fill(hub)
        is_well = run(options, hub, folder)
    raise SystemExit(0 if is_well else 1)


if __name__ == "__main__":
    main()
