# SPDX-License-Identifier: Apache-2.0
"""The parts of the tests: a test hub, a hubcached, the real clients (oracles), and a survey of a
whole cache directory."""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import re
import signal
import stat
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

import grpc

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = pathlib.Path(os.environ.get("HUBCACHE_BUILD", ROOT / "build" / "dev")).resolve()
TIMEOUT = 30  # seconds, for anything that should take milliseconds

# A shell ignores these signals in background processes, which children would inherit.
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT
                      else signal.SIG_DFL)

# No environment variable of this machine may change the outcome of a test.
CLEAN = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("HF_", "HUGGING", "TRANSFORMERS_", "HUBCACHE_", "XDG_"))
    and name.lower() not in ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
}


def program(name):
    for folder in ("server", "client", "client/command", "tests/support", "tests/service"):
        path = BUILD / folder / name
        if path.exists():
            return str(path)
    raise FileNotFoundError(f"{name} is not built below {BUILD}: see tests/README.md")


def run_group(command, timeout, **options):
    """A finished process, as of subprocess.run; None when it takes too long, and then it is
    killed with what it started, which would hold its output open."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          stdin=subprocess.DEVNULL, start_new_session=True, env=CLEAN,
                          **options) as process:
        try:
            output, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return None
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def wait_until(is_true, what):
    """Polls for something that another process does; fails the test when it does not."""
    end = time.monotonic() + TIMEOUT
    while not is_true():
        assert time.monotonic() < end, f"did not happen within {TIMEOUT} s: {what}"
        time.sleep(0.01)


# --- the hub ------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Request:
    """One line of the hub's log."""

    port: str  # "hub" or "cdn"
    method: str
    target: str
    status: int
    bytes: int
    range: str
    has_token: bool
    user_agent: str

    @classmethod
    def parse(cls, line):
        port, method, target, status, size, *rest = line.split(" ", 7)
        fields = dict(field.split("=", 1) for field in rest)
        return cls(port, method, target, int(status), int(size), fields["range"],
                   fields["auth"] == "yes", fields.get("ua", ""))


class Hub:
    """The program test-hub; its control interface is described in tests/support/hub_control.c."""

    def __init__(self, repos=None, *arguments):
        self.process = subprocess.Popen(
            [program("test-hub"), *(["--repos", str(repos)] if repos else []), *arguments],
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        _, self.endpoint, _, self.cdn = self.process.stdout.readline().split()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(TIMEOUT)
        self.process.stdout.close()

    def get(self, target):
        """(headers, body) of a request as any client makes it."""
        with urllib.request.urlopen(self.endpoint + target, timeout=TIMEOUT) as answer:
            return answer.headers, answer.read()

    def control(self, name, body=None, **query):
        target = f"/_test/{name}?{urllib.parse.urlencode(query)}"
        request = urllib.request.Request(self.endpoint + target, data=body)
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            return answer.read().decode()

    def rule(self, fault, **fields):
        self.control("rules", json.dumps({"fault": fault} | fields).encode())

    def clear_rules(self):
        self.control("rules/clear", b"")

    def release(self):
        self.control("release", b"")

    def await_stall(self):
        self.control("await-stall")

    def await_requests(self, count, **query):
        self.control("await", count=count, **query)

    def log(self):
        return [Request.parse(line) for line in self.control("log").splitlines()]

    def clear_log(self):
        self.control("log/clear", b"")

    def gets(self, port="cdn"):
        """The requests for bytes, without those for listings and metadata."""
        return [request for request in self.log()
                if request.port == port and request.method == "GET"
                and request.status not in (302, 307)
                and not re.match("/api/(models|datasets|spaces|kernels)/", request.target)]

    def commit_of(self, repo, revision="main"):
        _, body = self.get(f"/api/{repo}/revision/{urllib.parse.quote(revision, safe='')}")
        return json.loads(body)["sha"]

    def commit(self, repo, files, revision="main", lfs=()):
        """Commits {path: bytes}; returns the hash."""
        for path, content in files.items():
            self.control("add", content, path=path, lfs=int(path in lfs))
        return self.control("commit", b"", repo=repo, revision=revision).strip()


# --- hubcached ------------------------------------------------------------------------------


class Server:
    """A running hubcached. Attributes of the contract are called by name:
    server.ResolveFile(repo_id="org/m", filename="x") fails with grpc.RpcError. With TLS it needs
    the `credentials` of a channel."""

    def __init__(self, pb, cache, endpoint, *, arguments=(), environment=None, umask=0o022,
                 before=(), binary=None, listen="127.0.0.1:0", credentials=None):
        self.pb = pb
        self.cache = pathlib.Path(cache)
        self.log_path = self.cache.with_name(self.cache.name + ".log")
        command = [*before, binary or program("hubcached"), "--listen", listen,
                   "--cache-dir", str(cache), "--endpoint", endpoint, *arguments]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL,
                text=True, umask=umask,
                env=CLEAN | {"HOME": "/nonexistent"} | (environment or {}))
        line = self.process.stdout.readline()
        assert line.startswith("listening "), f"{line!r}: {self.log()}"
        self.address = line.split()[1]
        self.channel = grpc.secure_channel(self.address, credentials) if credentials else \
            grpc.insecure_channel(self.address)
        self.stub = pb.grpc.ResolverStub(self.channel)
        self.cache_stub = pb.cache.grpc.CacheStub(self.channel)

    def log(self):
        return self.log_path.read_text(errors="replace")

    def __getattr__(self, method):
        request_type = getattr(self.pb, method + "Request")
        call = getattr(self.stub, method)

        def ask(metadata=None, timeout=TIMEOUT, **fields):
            return call(request_type(**fields), timeout=timeout, metadata=metadata)

        return ask

    def manage(self, method, metadata=None, timeout=TIMEOUT, **fields):
        """Calls a method of the service Cache; a stream comes as a list."""
        request = getattr(self.pb.cache, method + "Request")(**fields)
        answer = getattr(self.cache_stub, method)(request, timeout=timeout, metadata=metadata)
        return answer if hasattr(answer, "DESCRIPTOR") else list(answer)

    def start(self, method, **fields):
        """The same, but does not wait: returns a future."""
        request = getattr(self.pb, method + "Request")(**fields)
        return getattr(self.stub, method).future(request, timeout=TIMEOUT)

    def file(self, repo_id, filename, revision="", **fields):
        return self.ResolveFile(repo_id=repo_id, filename=filename, revision=revision,
                                **fields).file

    def kill(self):
        self.channel.close()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(TIMEOUT)

    def stop(self):
        self.channel.close()
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(TIMEOUT)
        self.process.stdout.close()
        return self.process.returncode


def reason_of(error):
    """(reason, message, metadata) of a failed call, from grpc-status-details-bin."""
    from google.rpc import error_details_pb2, status_pb2

    details = dict(error.trailing_metadata())["grpc-status-details-bin"]
    status = status_pb2.Status.FromString(details)
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo()
            detail.Unpack(info)
            return info.reason, status.message, dict(info.metadata)
    raise AssertionError(f"no ErrorInfo in {status}")


@contextlib.contextmanager
def fails_with(*reasons):
    """Requires that the body fails with one of these; yields an object with .message, .metadata."""
    failure = type("Failure", (), {})()
    try:
        yield failure
    except grpc.RpcError as error:
        found, failure.message, failure.metadata = reason_of(error)
        failure.code = error.code()
        assert found in reasons, f"{found}: {failure.message}"
        return
    raise AssertionError(f"did not fail with {reasons}")


# --- the oracles ------------------------------------------------------------------------------


class Oracle:
    """The real client of one version, in a process of its own for each batch of calls."""

    def __init__(self, name, python):
        self.name = name
        self.python = python

    def __repr__(self):
        return self.name

    def start(self, *calls, endpoint, environment=None, umask=0o022, cwd=None):
        """`calls` are (function, arguments). Returns a process for finish()."""
        settings = {"HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1", "HOME": "/nonexistent",
                    "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
                    "HF_HUB_DISABLE_UPDATE_CHECK": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        settings.update(environment or {})
        reader, writer = os.pipe()
        process = subprocess.Popen(
            ["bash", "-c", f'exec "$0" "$1" 3>&{writer} {writer}>&-', self.python,
             str(HERE / "oracle_call.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, umask=umask, cwd=cwd, pass_fds=[writer],
            env=CLEAN | {k: v for k, v in settings.items() if v is not None})
        os.close(writer)
        requests = [{"function": name, "arguments": arguments} for name, arguments in calls]
        process.stdin.write(json.dumps(requests))
        process.stdin.close()
        process.stdin = None
        return process, reader

    def finish(self, started):
        process, reader = started
        watchdog = threading.Timer(TIMEOUT * 4, process.kill)
        watchdog.start()
        with os.fdopen(reader) as answers:
            text = answers.read()
        output, _ = process.communicate()
        watchdog.cancel()
        assert process.returncode == 0 and text, output
        return json.loads(text)

    def replies(self, *calls, **options):
        return self.finish(self.start(*calls, **options))

    def __call__(self, function, *, endpoint, environment=None, **arguments):
        """The result of one call, which has to succeed."""
        (reply,) = self.replies((function, arguments), endpoint=endpoint,
                                environment=environment)
        assert "error" not in reply, reply
        return reply["result"]


# --- cache directories ----------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Node:
    """The properties of a file, directory or link that are compared; times are not."""

    kind: str  # "file", "directory", "link"
    mode: str  # "-" for a link
    content: str  # of a file (its SHA-256 when it is long), or the target of a link


def look_at(path):
    info = path.lstat()
    if stat.S_ISLNK(info.st_mode):
        return Node("link", "-", os.readlink(path))
    mode = f"{stat.S_IMODE(info.st_mode):04o}"
    if stat.S_ISDIR(info.st_mode):
        return Node("directory", mode, "")
    content = path.read_bytes()
    text = repr(content) if len(content) < 4096 else hashlib.sha256(content).hexdigest()
    return Node("file", mode, text)


def survey(cache):
    """{path relative to the cache root: Node} of everything below it."""
    cache = pathlib.Path(cache)
    return {str(path.relative_to(cache)): look_at(path) for path in sorted(cache.rglob("*"))}


def blobs_of(cache):
    return {path.name: path for path in pathlib.Path(cache).glob("*/blobs/*")}


def incompletes(cache):
    return [str(path) for path in pathlib.Path(cache).rglob("*.incomplete")]


def hubcache(*arguments, server=None, environment=None):
    """Runs the command; returns the finished process."""
    options = ["--server", server.address] if server else []
    return subprocess.run([program("hubcache"), *options, *arguments], capture_output=True,
                          text=True, timeout=TIMEOUT, env=CLEAN | (environment or {}))


def check_config(environment, cwd=None):
    """The settings {name: value} that hubcached would run with; None when it refuses them."""
    result = subprocess.run([program("hubcached"), "--check-config"], capture_output=True,
                            text=True, timeout=TIMEOUT, cwd=cwd, env=CLEAN | environment)
    if result.returncode != 0:
        return None
    rows = re.findall(r"^([a-z-]+): (\[.*\]|\".*\"|true|false)$", result.stdout, re.MULTILINE)
    return {name: json.loads(value) for name, value in rows}


def make_stubs(folder):
    """Generates the contract's Python modules below `folder`; returns them as one object."""
    from grpc_tools import protoc
    import importlib.resources

    include = importlib.resources.files("grpc_tools") / "_proto"
    arguments = ["protoc", f"-I{ROOT / 'proto'}", f"-I{include}", f"--python_out={folder}",
                 f"--grpc_python_out={folder}", "hubcache/v1/resolver.proto",
                 "hubcache/v1/cache.proto"]
    assert protoc.main(arguments) == 0
    sys.path.insert(0, str(folder))
    from hubcache.v1 import cache_pb2, cache_pb2_grpc, resolver_pb2, resolver_pb2_grpc

    resolver_pb2.grpc = resolver_pb2_grpc
    resolver_pb2.cache = cache_pb2
    cache_pb2.grpc = cache_pb2_grpc
    return resolver_pb2
