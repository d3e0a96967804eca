# SPDX-License-Identifier: Apache-2.0
"""The tools that gRPC developers use work without any setting for hubcache: no .proto file, no
descriptors. grpcurl lists, describes, calls and decodes the details of a failure; ghz loads;
grpc-health-probe probes. They are built by go, in the versions of tools/go.mod; without a go,
or without the Go proxy, the tests are skipped. `buf curl`, and grpc-js with a reflection client,
on which Postman is built, are installed by npm, or skipped. HC_TRANSCRIPT names a file that gets
all commands of Go's tools with their output."""

import base64
import json
import os
import re
import shutil
import subprocess

import pytest

from content import GIT_FILE, MODEL
from world import BUILD, CLEAN, HERE, TIMEOUT, run_group, wait_until

BUILD_TIME = 600  # seconds, for go on a busy machine
TOOLS = BUILD.parent / "tools"
NAMES = ("grpcurl", "ghz", "grpc-health-probe")
RESOLVER = "hubcache.v1.Resolver"
SERVICES = {RESOLVER, "hubcache.v1.Cache", "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"}
CALLS = 2000
NPM_PACKAGES = ("@bufbuild/buf@1.75.0", "@grpc/grpc-js@1.14.7", "grpc-js-reflection-client@1.4.2")


@pytest.fixture(scope="session")
def tools():
    if not shutil.which("go"):
        pytest.skip("there is no go")
    try:
        built = subprocess.run(["go", "install", "-ldflags=-s -w", "tool"], text=True,
                               cwd=HERE / "tools", capture_output=True, timeout=BUILD_TIME,
                               env=CLEAN | {"GOBIN": str(TOOLS), "CGO_ENABLED": "0"})
    except subprocess.TimeoutExpired:
        pytest.skip("the tools do not build here: it takes too long")
    if built.returncode != 0:
        pytest.skip("the tools do not build here: " + built.stderr.strip()[-200:])


@pytest.fixture
def run(tools):
    """run(tool, argument…) is a finished process whose output is in .stdout and .stderr."""

    def run_tool(name, *arguments, is_noted=True):
        done = subprocess.run([TOOLS / name, *arguments], text=True, capture_output=True,
                              timeout=TIMEOUT, env=CLEAN)
        if is_noted and os.environ.get("HC_TRANSCRIPT"):
            with open(os.environ["HC_TRANSCRIPT"], "a", encoding="utf-8") as out:
                words = [f"'{a}'" if set(a) & set(" {}\"") else a for a in arguments]
                print("$", name, *words, file=out)
                print(done.stdout + done.stderr + f"(exit status {done.returncode})\n",
                      file=out)
        return done

    return run_tool


@pytest.fixture
def server(serve, cache, hub):
    return serve(cache, hub.endpoint)


@pytest.fixture
def grpcurl(run, server):
    def ask(*arguments):
        options = [a for a in arguments if a.startswith("-") or a.startswith("{")]
        words = [a for a in arguments if a not in options]
        return run("grpcurl", "-plaintext", *options, server.address, *words)

    return ask


def messages_of(text):
    """The JSON values of a stream that grpcurl prints one after the other."""
    decoder, messages = json.JSONDecoder(), []
    while text.strip():
        value, end = decoder.raw_decode(text.strip())
        messages.append(value)
        text = text.strip()[end:]
    return messages


def test_grpcurl_lists_services_and_methods(grpcurl):
    assert set(grpcurl("list").stdout.split()) == SERVICES
    methods = set(grpcurl("list", RESOLVER).stdout.split())
    assert {f"{RESOLVER}.{name}" for name in ("ResolveFile", "WatchSnapshot", "GetServerInfo")
            } <= methods


def test_grpcurl_describes_everything_with_its_comments(grpcurl):
    service = grpcurl("describe", RESOLVER)
    assert service.returncode == 0
    assert "// Resolves one file.\n" in service.stdout
    assert "returns ( stream .hubcache.v1.WatchSnapshotResponse )" in service.stdout
    request = grpcurl("describe", "hubcache.v1.ResolveFileRequest").stdout
    assert "string repo_id = 1" in request and "// " in request
    assert "REPO_NOT_FOUND" in grpcurl("describe", "hubcache.v1.ErrorReason").stdout
    assert "reason" in grpcurl("describe", "google.rpc.ErrorInfo").stdout
    missing = grpcurl("describe", "hubcache.v1.Nothing")
    assert missing.returncode != 0 and "not found" in missing.stderr


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_grpcurl_describes_each_service(grpcurl, name):
    assert f"{name} is a service" in grpcurl("describe", name).stdout


def test_grpcurl_calls(grpcurl, cache):
    info = grpcurl(f"{RESOLVER}/GetServerInfo")
    assert json.loads(info.stdout)["cacheRoot"] == str(cache)
    done = grpcurl("-d", '{"repo_id": "%s", "filename": "config.json"}' % MODEL,
                   f"{RESOLVER}/ResolveFile")
    answer = json.loads(done.stdout)["file"]
    assert answer["source"] == "SOURCE_HUB"
    with open(answer["path"], "rb") as file:
        assert file.read() == GIT_FILE


def test_grpcurl_decodes_the_details_of_a_failure(grpcurl):
    done = grpcurl("-d", '{"repo_id": "%s", "filename": "none.json"}' % MODEL,
                   f"{RESOLVER}/ResolveFile")
    assert done.returncode != 0
    assert "Code: NotFound" in done.stderr
    assert '"@type": "type.googleapis.com/google.rpc.ErrorInfo"' in done.stderr
    assert '"reason": "ENTRY_NOT_FOUND"' in done.stderr
    assert '"domain": "hubcache"' in done.stderr
    invalid = grpcurl("-d", '{"repo_id": "a/b/c", "filename": "x"}', f"{RESOLVER}/ResolveFile")
    assert "google.rpc.BadRequest" in invalid.stderr and '"repo_id"' in invalid.stderr


def test_grpcurl_shows_when_to_retry(grpcurl, hub):
    hub.rule("status", number=429, retry_after_s=60)
    done = grpcurl("-v", "-max-time=9", "-d",
                   '{"repo_id": "%s", "filename": "config.json"}' % MODEL,
                   f"{RESOLVER}/ResolveFile")
    assert "google.rpc.RetryInfo" in done.stderr
    assert '"retryDelay": "60s"' in done.stderr
    assert "grpc-retry-pushback-ms: -1" in done.stdout + done.stderr


def test_grpcurl_watches_a_snapshot(grpcurl):
    done = grpcurl("-d", '{"snapshot": {"repo_id": "%s"}}' % MODEL, f"{RESOLVER}/WatchSnapshot")
    *progress, last = messages_of(done.stdout)
    assert all("progress" in message for message in progress)
    assert last["result"]["completeness"] == "COMPLETENESS_COMPLETE"


def test_grpcurl_reads_a_file(grpcurl):
    done = grpcurl("-d", '{"file": {"repo_id": "%s", "filename": "config.json"}}' % MODEL,
                   f"{RESOLVER}/ReadFile")
    messages = messages_of(done.stdout)
    assert messages[0]["file"]["filename"] == "config.json"
    assert b"".join(base64.b64decode(m.get("data", "")) for m in messages) == GIT_FILE


def test_grpc_health_probe_knows_every_name(run, server):
    for name in ("", "liveness", *sorted(SERVICES)):
        done = run("grpc-health-probe", f"-addr={server.address}", f"-service={name}")
        assert (done.returncode, "status: SERVING" in done.stderr) == (0, True), done.stderr
    unknown = run("grpc-health-probe", f"-addr={server.address}", "-service=none")
    assert unknown.returncode != 0


def test_grpc_health_probe_fails_while_the_volume_is_gone(run, server, cache):
    def probe(name, is_noted=True):
        return run("grpc-health-probe", f"-addr={server.address}", f"-service={name}",
                   is_noted=is_noted).returncode

    cache.rename(cache.with_name("elsewhere"))
    wait_until(lambda: probe("", False) != 0, "a volume that is gone is unusable")
    assert probe("") != 0
    assert probe("liveness") == 0
    cache.with_name("elsewhere").rename(cache)
    wait_until(lambda: probe("", False) == 0, "a volume that is back is usable")


def test_ghz_loads(run, server):
    done = run("ghz", "--insecure", "--call", f"{RESOLVER}/ResolveFile",
               "--data", '{"repo_id": "%s", "filename": "config.json"}' % MODEL,
               f"--total={CALLS}", "--concurrency=16", server.address)
    assert re.search(rf"Count:\s+{CALLS}\n", done.stdout), done
    assert re.search(rf"\[OK\]\s+{CALLS} responses", done.stdout), done


@pytest.fixture(scope="session")
def npm_tools(tmp_path_factory):
    """The folder in which the packages are installed."""
    if not shutil.which("npm") or not shutil.which("node"):
        pytest.skip("there is no node")
    folder = tmp_path_factory.mktemp("npm")
    shutil.copy(HERE / "javascript" / "reflect.mjs", folder)
    (folder / "package.json").write_text('{"private": true}')
    installed = run_group(["npm", "install", "--no-audit", "--no-fund", *NPM_PACKAGES],
                          BUILD_TIME, cwd=folder)
    if not installed or installed.returncode != 0:
        pytest.skip("the packages cannot be installed here")
    return folder


@pytest.fixture
def buf_curl(npm_tools, server):
    def ask(path, *arguments):
        return run_group([npm_tools / "node_modules" / ".bin" / "buf", "curl", "--protocol=grpc",
                          "--http2-prior-knowledge", *arguments,
                          f"http://{server.address}/{path}"], TIMEOUT, cwd=npm_tools)

    return ask


def test_buf_curl_lists_and_calls(buf_curl):
    assert set(buf_curl("", "--list-services").stdout.split()) == SERVICES
    request = json.dumps({"repo_id": MODEL, "filename": "config.json"})
    for version in ("grpc-v1", "grpc-v1alpha"):
        done = buf_curl(f"{RESOLVER}/ResolveFile", f"--reflect-protocol={version}", "-d", request)
        assert json.loads(done.stdout)["file"]["filename"] == "config.json", done.stderr
    failed = buf_curl(f"{RESOLVER}/ResolveFile", "-d", request.replace("config", "none"))
    assert failed.returncode != 0 and "google.rpc.ErrorInfo" in failed.stderr


@pytest.mark.parametrize("version", ("v1", "v1alpha"))
def test_grpc_js_calls_by_reflection(npm_tools, server, version):
    def ask(filename):
        done = run_group(["node", "reflect.mjs", server.address, version, MODEL, filename],
                         TIMEOUT, cwd=npm_tools)
        assert done and done.returncode == 0, done and done.stderr
        return json.loads(done.stdout)

    answer = ask("config.json")
    assert set(answer["services"]) == SERVICES
    assert (answer["code"], answer["file"]["filename"]) == (0, "config.json")
    assert ask("none.json")["code"] == 5  # NOT_FOUND
