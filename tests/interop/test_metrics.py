# SPDX-License-Identifier: Apache-2.0
"""Prometheus' own parser reads the metrics, and each line of the logs is JSON, whatever callers send."""

import json
import pathlib
import subprocess
import urllib.request

import grpc
import pytest

from content import MODEL

HERE = pathlib.Path(__file__).parent
HOSTILE = ["a\nb", "\x1b[2J", "\u202e", "\u2028", "\"}\n{\"level\":\"error\"", "\\", "é" * 3000, "\0", " "]


@pytest.fixture(scope="module")
def parse():
    """A page of metrics as {family: [[name, labels, value], ...]}."""
    python = subprocess.run([HERE / "venv", "metrics"], check=True, capture_output=True,
                            text=True).stdout.strip()

    def run(text):
        done = subprocess.run([python, HERE / "parse_metrics.py"], input=text, capture_output=True,
                              text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
    return run


def scrape(server):
    url = next(line.split()[-1] for line in server.process.stdout if "http://" in line)
    with urllib.request.urlopen(f"{url}/metrics") as response:
        return response.read().decode()


def test_prometheus_reads_the_page(parse, serve, quiet_hub, cache, tmp_path):
    server = serve(cache, quiet_hub.endpoint,
                   arguments=["--http-listen", "127.0.0.1:0", "--audit-log", tmp_path / "audit"])
    for _ in range(20):
        server.file(MODEL, "config.json")
    server.ResolveSnapshot(repo_id=MODEL)
    with pytest.raises(grpc.RpcError):
        server.file(MODEL, "no-such-file")

    families = parse(scrape(server))

    counts = {(labels["method"].rpartition("/")[2], labels["outcome"]): value
              for name, labels, value in families["hubcache_request_duration_seconds"]
              if name.endswith("_count")}
    assert counts[("ResolveFile", "ok")] == 20
    assert counts[("ResolveSnapshot", "ok")] == 1
    assert counts[("ResolveFile", "not_found")] == 1
    assert families["hubcache_audit_lost"][0][2] == 0
    assert families["process_resident_memory_bytes"][0][2] > 1_000_000
    assert families["process_open_fds"][0][2] > 10


def test_every_line_is_json(serve, quiet_hub, cache, tmp_path):
    audit = tmp_path / "audit"
    server = serve(cache, quiet_hub.endpoint,
                   arguments=["--audit-log", audit, "--log-format", "json"])
    calls = 0
    for text in HOSTILE:
        for fields in ({"repo_id": text, "filename": "x"}, {"repo_id": MODEL, "filename": text},
                       {"repo_id": MODEL, "filename": "x", "revision": text}):
            calls += 1
            with pytest.raises(grpc.RpcError):
                server.ResolveFile(**fields)
        calls += 1
        with pytest.raises(grpc.RpcError):
            server.ResolveSnapshot(repo_id=MODEL, revision="no", allow_patterns=[text, text])
    server.stop()

    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert len(lines) == calls
    assert all(line["outcome"] != "OK" and len(line["trace_id"]) == 32 for line in lines)
    logged = [json.loads(line) for line in server.log().splitlines()]
    assert sum(line["msg"] == "request failed" for line in logged) == calls
