# SPDX-License-Identifier: Apache-2.0
"""The service under load, beside a bare echo on the same gRPC core in the same run:
`tests/bench/run load`. The client (bench_rpc) has one connection and one thread, and shares the
processors with the servers."""

import argparse
import contextlib
import hashlib
import os
import resource
import socket
import statistics
import subprocess
import time
import types

import grpc

from figures import MIB, cpu_of, peak_of, server_named, status_of, table, temp_dir
from frames import PREFACE
from pki import Authority, TokenKey, key_set
import world

REPO, FILE, FILES = "bench/load", "file-00.json", 42
SLOW, PAUSE = "bench/slow", 600000  # ms before the Hub answers about that repo
WORKERS, QUEUE = 8, 64
DOWNLOAD, THROTTLE = 512 * MIB, 1_000_000  # bytes, and bytes a second of each connection
FEW_IDLE, IDLE = 1_100, 10_000  # connections
RULES = 1_000


def bench_program(name):
    return str(world.BUILD / "tests" / "bench" / name)


def load(address, filename, in_flight, seconds, *, repo=REPO, revision="main", options=()):
    """The line of bench_rpc, by name; times in µs."""
    command = [bench_program("bench_rpc"), *options, address, repo, filename, revision,
               str(in_flight), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=world.TIMEOUT + seconds)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    names = ("rate", "p50", "p99", "p999", "busy", "busy_p50", "busy_p99", "unsent", "calls")
    return types.SimpleNamespace(**dict(zip(names, map(int, done.stdout.split()))))


def load_with_cpu(server, address, *arguments, options=()):
    """The same, and the server's processor time for a call in µs."""
    before = cpu_of(server.process.pid)
    figures = load(address, *arguments, options=options)
    figures.cpu = (cpu_of(server.process.pid) - before) / figures.calls * 1e6
    return figures


def median(figures):
    return types.SimpleNamespace(**{name: statistics.median(getattr(one, name) for one in figures)
                                    for name in vars(figures[0])})


# --- servers -------------------------------------------------------------------------------


class Echo:
    """bench_echo for one method."""

    def __init__(self, method, binary, folder, arguments=()):
        path = f"unix:{folder}/echo-{method}"
        self.process = subprocess.Popen([binary, *map(str, arguments),
                                         f"/hubcache.v1.Resolver/{method}", path], stdout=subprocess.PIPE, text=True)
        self.addresses = {"TCP": self.process.stdout.readline().split()[1], "unix": path}

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


@contextlib.contextmanager
def hub_of_load():
    with world.Hub() as hub:
        hub.commit(f"models/{REPO}", {f"file-{number:02}.json": b"{}" + bytes([number])
                                      for number in range(FILES)})
        yield hub


@contextlib.contextmanager
def serving(options, hub, folder, name, arguments=(), environment=None, kind=""):
    """A hubcached whose cache has the repo; one of several of that name has a `kind`."""
    path = f"unix:{folder}/{name}{kind}.socket"
    server = world.Server(options.pb, folder / (name + kind), hub.endpoint,
                          binary=options.servers[name],
                          environment=environment,
                          arguments=["--log-level", "error", "--max-staleness", "1h",
                                     "--listen", path, *arguments])
    try:
        server.addresses = {"TCP": server.address, "unix": path}
        server.channel.close()  # of TCP, which may have TLS
        server.channel = grpc.insecure_channel(path)
        server.stub = options.pb.grpc.ResolverStub(server.channel)
        server.ResolveSnapshot(repo_id=REPO)
        yield server
    finally:
        server.kill()


@contextlib.contextmanager
def echoes(options, folder):
    """{file name: Echo}, with the names that bench_rpc wants."""
    pair = {FILE: Echo("ResolveFile", options.echo, folder),
            "": Echo("ResolveSnapshot", options.echo, folder)}
    try:
        yield pair
    finally:
        for echo in pair.values():
            echo.stop()


# --- hits ----------------------------------------------------------------------------------

COLUMNS = ["", "calls/s", "p50 µs", "p99 µs", "p99.9 µs", "of echo", "CPU µs", "less echo"]


def row(name, figures, echo):
    return [name, f"{figures.rate:,.0f}", f"{figures.p50:.0f}", f"{figures.p99:.0f}",
            f"{figures.p999:.0f}", f"{figures.rate / max(echo.rate, 1):.2f}",
            f"{figures.cpu:.1f}", f"{figures.cpu - echo.cpu:.1f}"]


def compare(options, ways, transport, filename, what=None, client=()):
    """Rows of one method over one transport; `ways` are {name: server}, `client` are options of
    bench_rpc."""
    rows = []
    what = what or ("snapshot" if filename == "" else "file")
    for in_flight in options.in_flight:
        figures = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, server in ways.items():
                figures[name].append(load_with_cpu(server, server.addresses[transport], filename,
                                                   in_flight, options.seconds, options=client))
        middle = {name: median(each) for name, each in figures.items()}
        rows += [row(f"{what}, {transport}, {in_flight} in flight: {name}", each,
                     middle["echo"]) for name, each in middle.items()]
    return rows


def hits(options):
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(temp_dir(options.dir))
        hub = stack.enter_context(hub_of_load())
        echo = stack.enter_context(echoes(options, folder))
        servers = {name: stack.enter_context(serving(options, hub, folder, name))
                   for name in options.servers}
        rows = []
        for filename in (FILE, ""):
            for transport in options.transports:
                rows += compare(options, {"echo": echo[filename]} | servers, transport, filename)
        rows += [[f"threads and RSS of {name}: {status_of(server.process.pid, 'Threads')}, "
                  f"{status_of(server.process.pid, 'VmRSS') / 1024:.1f} MiB", *[""] * 7]
                 for name, server in servers.items()]
    table(f"hits, and complete snapshots of {FILES} files (median of {options.rounds} rounds of "
          f"{options.seconds} s)", COLUMNS, rows)


# --- kinds of callers ----------------------------------------------------------------------


class Credentials:
    """The files of hubcached, of the echo and of the client, for each kind of caller."""

    def __init__(self, folder):
        authority = Authority(folder)
        cert, key = authority.issue("IP:127.0.0.1").put(folder, "server")
        client_cert, client_key = authority.issue("URI:spiffe://bench/caller").put(folder, "client")
        self.tls = ["--tls-cert", cert, "--tls-key", key]
        self.mtls = [*self.tls, "--tls-client-ca", authority.path]
        self.client_tls = ["--tls-ca", authority.path]
        self.client_mtls = [*self.client_tls, "--tls-cert", client_cert, "--tls-key", client_key]
        (folder / "token").write_text("secret")
        (folder / "tokens").write_text(
            f"bench sha256:{hashlib.sha256(b'secret').hexdigest()}\n")
        self.tokens = ["--auth-tokens", folder / "tokens", "--auth-required"]
        self.client_token = ["--token-file", folder / "token"]
        signer, now = TokenKey(folder, "bench"), int(time.time())
        (folder / "keys").write_bytes(key_set(signer))
        (folder / "jwt").write_text(signer.sign(
            iss="https://issuer.example", aud="hubcache", iat=now, exp=now + 3600,
            sub="system:serviceaccount:bench:caller"))
        self.jwt = ["--auth-jwt-issuer", "https://issuer.example", "--auth-jwt-audience",
                    "hubcache", "--auth-jwt-keys", folder / "keys", "--auth-required"]
        self.client_jwt = ["--token-file", folder / "jwt"]

    def kinds(self):
        """{kind: (arguments of hubcached, of the echo, of the client)}"""
        return {"plaintext": ([], [], []),
                "token": (self.tokens, [], self.client_token),
                "JWT": (self.jwt, [], self.client_jwt),
                "TLS": (self.tls, self.tls, self.client_tls),
                "mTLS": (self.mtls, self.mtls, self.client_mtls),
                "TLS+JWT": (self.tls + self.jwt, self.tls, self.client_tls + self.client_jwt)}


def kinds(options):
    """Hits of each kind of caller, beside an echo over the same kind of connection that gets the
    same header."""
    rows, shares = [], []
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(temp_dir(options.dir))
        hub = stack.enter_context(hub_of_load())
        for kind, (ours, theirs, client) in Credentials(folder).kinds().items():
            if options.kinds and kind not in options.kinds.split(","):
                continue
            with contextlib.ExitStack() as one:
                echo = Echo("ResolveFile", options.echo, folder, theirs)
                one.callback(echo.stop)
                servers = {name: one.enter_context(serving(options, hub, folder, name, ours))
                           for name in options.servers}
                of_kind = compare(options, {"echo": echo} | servers, "TCP", FILE, kind, client)
                rows += of_kind
                shares += [[f"{kind}: {name}", *(row[5] for row in of_kind
                                                 if row[0].endswith(f": {name}"))]
                           for name in servers]
    table(f"hits of a file, by the kind of caller (median of {options.rounds} rounds of "
          f"{options.seconds} s)", COLUMNS, rows)
    table("the share of the echo's rate, by calls in flight", ["", *options.in_flight], shares)
    table("a decision about a caller: the first for a credential, and when it is remembered",
          ["", "µs first", "µs remembered"], decisions())


def decisions():
    output = subprocess.run([bench_program("bench_decision")], capture_output=True, text=True,
                            check=True).stdout
    return [line.rsplit(" ", 2) for line in output.splitlines()]


# --- with a policy -------------------------------------------------------------------------


def write_policy(path):
    """RULES rules, of which the last one matches."""
    rules = [f"- {{name: deny-{number}, repos: ['org-{number}/*'], action: deny}}"
             for number in range(RULES - 1)]
    path.write_text("\n".join(["version: 1", "rules:", *rules,
                               f"- {{name: allow, repos: ['{REPO}'], action: allow}}", ""]))


def policy(options):
    """Hits of servers with a policy, an audit log and both, in turn with one that has none."""
    rows = []
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(temp_dir(options.dir))
        hub = stack.enter_context(hub_of_load())
        echo = stack.enter_context(echoes(options, folder))
        write_policy(folder / "policy.yaml")
        rules = ["--policy", str(folder / "policy.yaml")]
        for name in options.servers:
            audit = {kind: ["--audit-log", str(folder / f"{name}-{kind}.log")]
                     for kind in ("audit", "both")}
            ways = {"without": [], "policy": rules, "audit log": audit["audit"],
                    "both": rules + audit["both"]}
            ways = {f"{name} {kind}": stack.enter_context(
                        serving(options, hub, folder, name, arguments, kind=f"-{kind[:5]}"))
                    for kind, arguments in ways.items()}
            for filename in (FILE, ""):
                rows += compare(options, {"echo": echo[filename]} | ways, "unix", filename)
    table(f"hits with a policy of {RULES:,} rules and an audit log (median of {options.rounds} "
          f"rounds of {options.seconds} s)", COLUMNS, rows)


# --- beside downloads ----------------------------------------------------------------------


def start(server, method, caller, **fields):
    request = getattr(server.pb, method + "Request")(**fields)
    return getattr(server.stub, method).future(
        request, timeout=600, metadata=[("authorization", f"Bearer {caller}")])


def start_downloads(server, hub):
    """As many as there are workers, of as many callers and repos."""
    for number in range(WORKERS):
        hub.control("add-made-up", b"", path="large.safetensors", size=DOWNLOAD, seed=number + 1,
                    lfs=1)
        hub.control("commit", b"", repo=f"models/bench/large-{number}", revision="main")
    hub.rule("throttle", on_cdn=True, number=THROTTLE)
    calls = [start(server, "ResolveFile", f"download-{number}", repo_id=f"bench/large-{number}",
                   filename="large.safetensors") for number in range(WORKERS)]
    world.wait_until(lambda: len({get.target for get in hub.gets()}) >= WORKERS,
                     "all downloads have begun")
    return calls


def fill_queue(server, hub):
    """Misses that wait until the queue refuses one. While the downloads go on none of them runs:
    then the calls of bench_rpc would wait with them."""
    hub.rule("delay", contains=SLOW, number=PAUSE)
    calls = [start(server, "ResolveFile", f"miss-{number}", repo_id=SLOW, filename=f"m-{number}")
             for number in range(QUEUE + 1)]
    world.wait_until(lambda: any(call.done() for call in calls), "the queue is full")
    return calls


def downloads(options):
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(temp_dir(options.dir))
        hub = stack.enter_context(hub_of_load())
        echo = stack.enter_context(echoes(options, folder))
        rows = []
        for name in options.servers:
            server = stack.enter_context(
                serving(options, hub, folder, name,
                        ["--workers", str(WORKERS), "--queue", str(QUEUE)]))
            calls = start_downloads(server, hub)
            waiting = fill_queue(server, hub)
            for filename in (FILE, ""):
                rows += compare(options, {"echo": echo[filename], name: server}, "TCP",
                                filename)
            for in_flight in options.in_flight:
                busy = load(server.address, "busy", in_flight, options.seconds, repo=SLOW,
                            options=["--counted", "--distinct", "--callers", "100"])
                rows.append([f"a miss, TCP, {in_flight} in flight: {name} answers BUSY",
                             f"{busy.busy / options.seconds:,.0f}", f"{busy.busy_p50}",
                             f"{busy.busy_p99}", *[""] * 4])
            assert not any(call.done() for call in calls), "a download ended too early"
            for call in calls + waiting:
                call.cancel()
            hub.clear_rules()
    table(f"the same while {WORKERS} downloads take all {WORKERS} workers, "
          f"{THROTTLE / 1e6:.0f} MB/s a connection, and the queue of {QUEUE} is full", COLUMNS, rows)


# --- overload ------------------------------------------------------------------------------

FLAGS = ["--counted", "--callers", "8", "--connections", "8"]
OVERLOADS = [("hits", FILE, [], 4096), ("snapshots", "", ["--distinct"], 4096),
             ("snapshots", "", ["--distinct"], 256)]


def overload_rows(options, name, server, what, filename, flags):
    """An open loop at times the rate of the closed loop just before it."""
    rows = []
    for times in (0.5, 1, 2):
        most = load(server.address, filename, 512, options.seconds, options=flags).rate
        got = load(server.address, filename, 20000, options.seconds * 2,
                   options=["--rate", str(int(most * times)), *flags])
        offered = most * times * options.seconds * 2
        rows.append([f"{what}, {times:g} x {most:,.0f}/s: {name}", f"{got.rate:,.0f}",
                     f"{got.p50 / 1000:.1f}", f"{got.p99 / 1000:.1f}", f"{got.p999 / 1000:.1f}",
                     f"{got.busy / offered:.0%}", f"{got.busy_p50 / 1000:.1f}",
                     f"{got.unsent / offered:.0%}"])
    return rows


def overload(options):
    """Hits, and snapshots that no two calls share, which the disk pool looks at."""
    rows = []
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(temp_dir(options.dir))
        hub = stack.enter_context(hub_of_load())
        for name in options.servers:
            for what, filename, flags, queue in OVERLOADS:
                with serving(options, hub, folder, name, ["--queue", str(queue)]) as server:
                    rows += overload_rows(options, name, server, f"{what}, queue of {queue}",
                                          filename, FLAGS + flags)
    table("more than it can do: an open loop of 8 callers over 8 connections, at times the rate of "
          "512 in flight", ["", "answered/s", "p50 ms", "p99 ms", "p99.9 ms", "BUSY", "p50 ms",
                            "unsent"], rows)


# --- idle connections ----------------------------------------------------------------------


def connect_idle(address):
    host, port = address.rsplit(":", 1)
    connection = socket.create_connection((host, int(port)), timeout=world.TIMEOUT)
    connection.sendall(PREFACE)
    return connection


def idle(options):
    rows = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(IDLE, hard * 3 // 4 - 100)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(temp_dir(options.dir))
        hub = stack.enter_context(hub_of_load())
        for name in options.servers:
            server = stack.enter_context(serving(options, hub, folder, name,
                                                 ["--client-connections", str(count + 100)]))
            for connections in (0, FEW_IDLE, count):
                held = [connect_idle(server.address) for _ in range(connections)]
                for one in held:
                    assert one.recv(1), "the server closed a connection"
                pid = server.process.pid
                rss, threads = status_of(pid, "VmRSS"), status_of(pid, "Threads")
                got = load_with_cpu(server, server.address, FILE, 64, options.seconds)
                load(server.address, FILE, 512, options.seconds)
                rows.append([f"{connections:,}: {name}", f"{rss / 1024:.1f}", threads,
                             f"{got.rate:,.0f}", f"{got.p50}", f"{got.p99}", f"{got.cpu:.1f}",
                             f"{peak_of(pid):.1f}"])
                for one in held:
                    one.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    table("idle connections, then 64 and 512 calls in flight",
          ["", "RSS MiB", "threads", "hits/s at 64", "p50 µs", "p99 µs", "CPU µs",
           "peak MiB at 512"], rows)


# --- the command ---------------------------------------------------------------------------

PARTS = {"hits": hits, "kinds": kinds, "policy": policy, "downloads": downloads,
         "overload": overload, "idle": idle}


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/run load", description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), metavar="PART,...",
                        help=f"of {', '.join(PARTS)}")
    parser.add_argument("--server", action="append", type=server_named, metavar="[NAME=]PATH",
                        help="a hubcached; repeat it to compare several in one run")
    parser.add_argument("--echo", default=bench_program("bench_echo"), metavar="PATH")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--in-flight", default="1,8,64,512", metavar="N,...")
    parser.add_argument("--transports", default="TCP,unix", metavar="TCP,unix")
    parser.add_argument("--kinds", default="", metavar="KIND,...",
                        help="of callers; by default plaintext,token,JWT,TLS,mTLS,TLS+JWT")
    parser.add_argument("--dir", default="/tmp", help="for sockets and caches")
    options = parser.parse_args()
    options.servers = dict(options.server or [("hubcached", world.program("hubcached"))])
    options.in_flight = [int(number) for number in options.in_flight.split(",")]
    options.transports = options.transports.split(",")
    with temp_dir(options.dir) as folder:
        options.pb = world.make_stubs(folder)
        print(f"{os.cpu_count()} processors for client and servers")
        for part in options.only.split(","):
            PARTS[part](options)


if __name__ == "__main__":
    main()
