# SPDX-License-Identifier: Apache-2.0
"""The programs that fetch one file, and the command line of each."""

import dataclasses
import pathlib
import sys

from figures import cpu_of, measure, peak_of
import rust
import world

REPO, NAME = "bench/fetch", "file.bin"

# The environment of an oracle of the interop tests, and a token, without which hf warns.
CLIENT = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_TOKEN": "hf_x",
          "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1",
          "HOME": "/nonexistent"}


@dataclasses.dataclass(frozen=True)
class Download:
    url: str  # of the bytes
    size: int
    digest: str
    endpoint: str  # a hub whose answers lead to the url
    out: pathlib.Path  # an empty directory
    ca_env: dict  # variables that name the authority
    pb: object  # the contract's stubs


def curl(download):
    return measure(["curl", "-sSf", "-o", download.out / "file", download.url], download.ca_env)


def piped_into(hasher):
    def run(download):
        command = f"curl -sSf '{download.url}' | tee '{download.out}/file' | {hasher}"
        return measure(["bash", "-c", f"set -o pipefail; {command}"], download.ca_env)

    return run


def in_process(download):
    return measure([world.BUILD / "tests/bench/bench_fetch", download.url, download.size,
                    download.digest, download.out / "cache"], download.ca_env)


def served(download):
    server = world.Server(download.pb, download.out / "hub", download.endpoint,
                          arguments=["--log-level", "error"], environment=download.ca_env)
    try:
        before = cpu_of(server.process.pid)
        cost = measure([world.program("hubcache"), "--server", server.address, "file", REPO,
                        NAME])
        pid = server.process.pid
        return cost.with_server(cpu_of(pid) - before, peak_of(pid))
    finally:
        server.stop()


def aria2c(download):
    authority = download.ca_env.get("SSL_CERT_FILE")
    return measure(["aria2c", "-q", "-x16", "-s16", "-k1M", "--file-allocation=none",
                    *([f"--ca-certificate={authority}"] if authority else []),
                    "-d", download.out, "-o", "file", download.url])


def hf_download(download):
    return measure([pathlib.Path(sys.executable).with_name("hf"), "download", REPO, NAME],
                   CLIENT | download.ca_env | {"HF_ENDPOINT": download.endpoint,
                                               "HF_HUB_CACHE": str(download.out / "hf")})


def rust_hf_hub(download):
    return measure([rust.program(), download.endpoint, download.out / "rust", *REPO.split("/"),
                    "main", "online", NAME], download.ca_env)


# {name: (what it verifies, how it is run)}
COMPETITORS = {
    "curl -o": ("nothing", curl),
    "curl | tee | sha256sum": ("hash, bytes stay", piped_into("sha256sum")),
    "curl | tee | openssl dgst": ("hash, bytes stay", piped_into("openssl dgst -sha256")),
    "hubcache in process": ("hash, then visible", in_process),
    "hubcached + hubcache": ("hash, then visible", served),
    "aria2c -x16": ("nothing", aria2c),
    "hf download": ("size", hf_download),
    "Rust hf-hub": ("nothing", rust_hf_hub),
}
