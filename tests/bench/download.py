#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How fast one large file comes, beside what else fetches files.

    tests/bench/download.py --build DIR [--size MIB] [--dir DIR] [--rate 50m] [--hf PATH]

A real nginx serves the file on loopback, unthrottled and with `limit_rate` on each
connection; each competitor fetches it once in turn, into --dir (default /dev/shm, so that
no disk is measured). Prints a table each; never fails on a figure. What each verifies: curl
and aria2c nothing, the pipe with sha256sum the hash (the bytes stay when it is wrong), hf
the size, hubcache the hash, before the file is visible.
"""

import argparse
import hashlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

MIB = 1 << 20
CONFIG = """
daemon off; master_process on; worker_processes auto; pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off; sendfile on; keepalive_requests 100000;
    client_body_temp_path {dir}/t; proxy_temp_path {dir}/t; fastcgi_temp_path {dir}/t;
    uwsgi_temp_path {dir}/t; scgi_temp_path {dir}/t;
    server {{ listen 127.0.0.1:{plain}; root {dir}/www; }}
    server {{ listen 127.0.0.1:{slow}; root {dir}/www; limit_rate {rate}; }}
}}
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def make_file(path, size):
    """Bytes that do not repeat soon; their hash."""
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        while size > 0:
            block = os.urandom(min(size, MIB // 4))  # a child's peak starts with ours
            digest.update(block)
            file.write(block)
            size -= len(block)
    return digest.hexdigest()


def await_port(port):
    for _ in range(500):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    sys.exit("nginx does not listen")


def measure(command, environment):
    """Wall and CPU seconds and peak RSS in MiB; None when it fails."""
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                             env={**os.environ, **environment})
    complaint = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        print(command[0], child.returncode, complaint.decode(errors="replace")[-400:],
              file=sys.stderr)
        return None
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def competitors(options, url, size, digest, out):
    fetch = options.build / "tests/bench/bench_fetch"
    rows = {
        "curl -o": ["curl", "-sS", "-o", f"{out}/file", url],
        "curl | tee | sha256sum": [
            "bash", "-c", f"set -o pipefail; curl -sS '{url}' | tee '{out}/file' | sha256sum"],
        "hubcache": [str(fetch), url, str(size), digest, f"{out}/cache"],
    }
    if shutil.which("aria2c"):
        rows["aria2c -x16"] = ["aria2c", "-q", "-x16", "-s16", "-k1M", "--file-allocation=none",
                               "-d", str(out), "-o", "file", url]
    return rows


def run_hf(options, www, url, out):
    """`hf download` through the test hub, whose answers lead to nginx."""
    repos = out / "repos/models/bench/fetch/main"
    repos.mkdir(parents=True)
    os.link(www / "file", repos / "file.bin")
    ports = out / "ports"
    hub = subprocess.Popen([options.build / "tests/support/test-hub", "--repos", out / "repos",
                            "--port-file", ports, "--no-xet"], stdout=subprocess.DEVNULL)
    try:
        while not ports.exists() or len(ports.read_text().split()) < 2:
            time.sleep(0.05)
        endpoint = f"http://127.0.0.1:{ports.read_text().split()[0]}"
        subprocess.run(["curl", "-sSf", "-XPOST", f"{endpoint}/_test/rules", "-d",
                        f'{{"fault": "header", "method": "HEAD", "contains": "/resolve/", '
                        f'"name": "Location", "text": "{url}"}}'], check=True,
                       stdout=subprocess.DEVNULL)
        return measure([options.hf, "download", "bench/fetch", "file.bin"],
                       {"HF_ENDPOINT": endpoint, "HF_HUB_CACHE": str(out / "hf"),
                        "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
                        "HF_TOKEN": "hf_x"})
    finally:
        hub.terminate()
        hub.wait()


def table(title, options, port, size, digest, work):
    url = f"http://127.0.0.1:{port}/file"
    base = None
    print(f"\n{title}\n{'':24}{'wall s':>9}{'MiB/s':>9}{'CPU s':>8}{'RSS MiB':>9}{'wall / curl':>13}")
    names = competitors(options, url, size, digest, work)
    for name in [*names, *(["hf download"] if options.hf else [])]:
        out = pathlib.Path(tempfile.mkdtemp(dir=work))
        if name == "hf download":
            figures = run_hf(options, work / "www", url, out)
        else:
            figures = measure(competitors(options, url, size, digest, out)[name], {})
        shutil.rmtree(out)
        if figures is None:
            print(f"{name:24}  failed")
            continue
        wall, cpu, rss = figures
        base = base or wall
        print(f"{name:24}{wall:9.2f}{size / MIB / wall:9.0f}{cpu:8.2f}{rss:9.1f}{wall / base:13.2f}",
              flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build/release"))
    parser.add_argument("--size", type=int, default=1024, help="MiB")
    parser.add_argument("--dir", default="/dev/shm")
    parser.add_argument("--rate", default="50m", help="bytes a second and connection")
    parser.add_argument("--hf", help="the hf command, to be measured too")
    options = parser.parse_args()
    options.build = options.build.resolve()
    work = pathlib.Path(tempfile.mkdtemp(prefix="bench-download-", dir=options.dir))
    plain, slow = free_port(), free_port()
    try:
        (work / "www").mkdir()
        (work / "t").mkdir()
        work.chmod(0o755)
        digest = make_file(work / "www/file", options.size * MIB)
        (work / "nginx.conf").write_text(CONFIG.format(dir=work, plain=plain, slow=slow,
                                                       rate=options.rate))
        nginx = subprocess.Popen(["nginx", "-p", work, "-c", work / "nginx.conf", "-e",
                                  work / "error.log"])
        try:
            await_port(slow)
            size = options.size * MIB
            print(f"{options.size} MiB on loopback into {options.dir}, {os.cpu_count()} processors")
            table("unthrottled", options, plain, size, digest, work)
            table(f"{options.rate} a second on each connection", options, slow, size, digest, work)
        finally:
            nginx.terminate()
            nginx.wait()
    finally:
        shutil.rmtree(work)


main()
