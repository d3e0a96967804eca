#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Compares hubcached with ModelExpress' server (Rust, tonic), warm and offline, in one run:

    tests/bench/run modelexpress MODELEXPRESS-SERVER

That server is built from github.com/ai-dynamo/modelexpress with

    cargo build --release -p modelexpress-server --no-default-features \\
        --features memory-backend,tls-rustls

Both get the same cache with one repo of 42 files. h2load (Debian: nghttp2-client) sends
the same calls to each, with 1 and 64 in flight on one connection. ModelExpress has no
call for one file: ListModelFiles, its only unary call about files, stands beside
ResolveFile, and EnsureModelDownloaded, a stream of updates, beside ResolveSnapshot. Both
servers share one core; the load has the other.
"""
import hashlib
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

COMMIT, REPO, FILES, ROUNDS, SECONDS = "9" * 40, "org/model", 42, 5, 1


def field(number, text):
    value = text.encode()
    return bytes([number << 3 | 2, len(value)]) + value


def make_cache(root):
    repo = root / "models--org--model"
    snapshot = repo / "snapshots" / COMMIT
    for folder in (repo / "blobs", repo / "refs", snapshot, repo / "trees"):
        folder.mkdir(parents=True)
    (repo / "refs" / "main").write_text(COMMIT)
    listing = {}
    for i in range(FILES):
        content = f"{i}\n".encode()
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        (repo / "blobs" / blob).write_bytes(content)
        name = "config.json" if i == 0 else f"file-{i}.json"
        (snapshot / name).symlink_to(f"../../blobs/{blob}")
        listing[name] = {"size": len(content), "blob_id": blob}
    (repo / "trees" / f"{COMMIT}.json").write_text(
        json.dumps({"format_version": 1, "files": dict(sorted(listing.items()))}, indent=1))


def start(command, **environment):
    return subprocess.Popen(["taskset", "-c", "0", *command], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, text=True,
                            env=os.environ | environment)


def load(address, path, message, in_flight, body):
    body.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
    result = subprocess.run(
        ["taskset", "-c", "1", "h2load", "-c", "1", "-m", str(in_flight), "-D",
         str(SECONDS), "--warm-up-time", "1", "-d", str(body), "-H", "te: trailers", "-H",
         "content-type: application/grpc", f"http://{address}{path}"],
        capture_output=True, text=True, check=True).stdout
    # A call that fails has the HTTP status 200 too, but no message.
    assert not re.search(r", 0B \(0\) data", result) and " 0 failed" in result, result
    return float(re.search(r"([\d.]+) req/s", result).group(1))


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: tests/bench/run modelexpress MODELEXPRESS-SERVER")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        root = pathlib.Path(folder)
        make_cache(root / "cache")
        ours = start([os.environ["HUBCACHE_BUILD"] + "/server/hubcached", "--cache-dir",
                      str(root / "cache"), "--offline", "--listen", "127.0.0.1:0",
                      "--log-level", "error"])
        theirs = start([sys.argv[1], "--host", "127.0.0.1", "--port", "48123", "--metrics-port",
                        "0", "--log-level", "error"],
                       MX_METADATA_BACKEND="memory", HF_HUB_OFFLINE="1",
                       MODEL_EXPRESS_CACHE_EVICTION_ENABLED="false",
                       MODEL_EXPRESS_CACHE_DIRECTORY=str(root / "cache"))
        try:
            address = ours.stdout.readline().split()[1]
            time.sleep(2)
            resolver, model = "/hubcache.v1.Resolver/", "/model_express.model.ModelService/"
            calls = {
                "one file": [
                    (address, resolver + "ResolveFile", field(1, REPO) + field(4, "config.json")),
                    ("127.0.0.1:48123", model + "ListModelFiles", field(1, REPO))],
                "a snapshot": [
                    (address, resolver + "ResolveSnapshot", field(1, REPO)),
                    ("127.0.0.1:48123", model + "EnsureModelDownloaded", field(1, REPO))],
            }
            print(f"{'':24}{'hubcache/s':>12}{'ModelExpress/s':>16}{'ratio':>8}")
            for name, (mine, other) in calls.items():
                for in_flight in (1, 64):
                    pairs = [(load(*mine, in_flight, root / "body"),
                              load(*other, in_flight, root / "body")) for _ in range(ROUNDS)]
                    print(f"{name + f', {in_flight} in flight':24}"
                          f"{statistics.median(a for a, _ in pairs):12,.0f}"
                          f"{statistics.median(b for _, b in pairs):16,.0f}"
                          f"{statistics.median(a / b for a, b in pairs):8.2f}", flush=True)
        finally:
            for server in (ours, theirs):
                server.terminate()
                server.wait()


if __name__ == "__main__":
    main()
