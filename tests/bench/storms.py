# SPDX-License-Identifier: Apache-2.0
"""How many requests a storage gets whose answers are of no use, and what one slow connection costs:
`tests/bench/run storms`. Each storm ends at its caller's deadline at the latest."""

import argparse
import time

import grpc

from figures import MIB, at_most, table, temp_dir, AIMS
import world

REPO = "models/bench/storms"
SMALL, LARGE = "one.safetensors", "many.safetensors"
SIZES = {SMALL: 16 * MIB, LARGE: 160 * MIB}
LONG = "long.safetensors"
CONNECTIONS = 17
SLOW = 200_000  # bytes a second

# Name, the rule of the storage's answers, and how many requests are too many.
STORMS = [
    ("Content-Length: 1000", dict(fault="header", name="Content-Length", text="1000"), 4),
    ("50 bytes an answer", dict(fault="cut", number=50), 60),
    ("no byte at all", dict(fault="cut", number=0), 60),
    ("an empty answer", dict(fault="body", text=""), 4),
    ("HTTP 403", dict(fault="status", number=403), 4),
    ("a captive portal's page", dict(fault="body", text="<html>Please sign in</html>"), 4),
]


def ask(server, file, seconds):
    """(the outcome, seconds)"""
    start = time.monotonic()
    try:
        server.ResolveFile(repo_id=REPO.split("/", 1)[1], filename=file, timeout=seconds)
        outcome = "right"
    except grpc.RpcError as error:
        try:
            outcome = world.reason_of(error)[0]
        except KeyError:
            outcome = error.code().name
    return outcome, time.monotonic() - start


def run(hub, options, file, rule, arguments=()):
    """One call on a cold cache: (outcome, seconds, requests for bytes)."""
    with temp_dir(options.dir) as folder:
        hub.clear_rules()
        hub.clear_log()
        if rule:
            hub.rule(on_cdn=True, method="GET", **rule)
        server = world.Server(options.pb, folder / "hub", hub.endpoint,
                              arguments=["--log-level", "error", *arguments])
        try:
            outcome, seconds = ask(server, file, options.seconds)
        finally:
            hub.clear_rules()
            server.stop()
    return outcome, seconds, sum(request.method == "GET" for request in hub.log())


def storms(hub, options):
    rows = []
    for name, rule, most in STORMS:
        for file in SMALL, LARGE:
            outcome, seconds, requests = run(hub, options, file, rule)
            rows.append([name, f"{SIZES[file] // MIB} MiB", requests,
                         f"{requests / seconds:.1f}", f"{seconds:.1f}", outcome])
            at_most(f"storm: {name}: requests for {file}", most, requests)
    table(f"a storage of no use, for {options.seconds} s at most",
          ["", "file", "requests", "a second", "seconds", "outcome"], rows)


def stragglers(hub, options):
    """One connection of many is slow."""
    arguments = ["--connections", str(CONNECTIONS)]
    rows = []
    _, alone, _ = min((run(hub, options, LONG, None, arguments) for _ in range(3)),
                      key=lambda each: each[1])
    for place in 0, 3, CONNECTIONS - 1:
        rule = dict(fault="throttle", number=SLOW, skip=place, times=1)
        outcome, seconds, requests = run(hub, options, LONG, rule, arguments)
        rows.append([f"no. {place + 1}", f"{seconds:.2f}", f"{seconds / alone:.1f}", requests,
                     outcome])
    table(f"one of {CONNECTIONS} connections at {SLOW} bytes a second, {options.size} MiB; "
          f"without one {alone:.2f} s",
          ["slow one", "seconds", "times as long", "requests", "outcome"], rows)


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/run storms", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="until each caller's deadline")
    parser.add_argument("--size", type=int, default=544, help="of the file of stragglers, MiB")
    parser.add_argument("--dir", default="/dev/shm", help="where files go")
    options = parser.parse_args()
    with temp_dir(None) as stubs, world.Hub() as hub:
        options.pb = world.make_stubs(stubs)
        for seed, (file, size) in enumerate({**SIZES, LONG: options.size * MIB}.items()):
            hub.control("add-made-up", b"", path=file, size=size, seed=seed, lfs=1)
        hub.control("commit", b"", repo=REPO)
        storms(hub, options)
        stragglers(hub, options)
    table("aims", ["", "aim", "figure", ""], AIMS)


if __name__ == "__main__":
    main()
