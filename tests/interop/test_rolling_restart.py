# SPDX-License-Identifier: Apache-2.0
"""Two replicas are restarted one after the other while clients call them: in C (the client
library), Python (grpcio) and Go (grpc-go, where there is a go). They retry UNAVAILABLE, and
CANCELLED without details. No call fails. What a Kubernetes Service does is done here by a
balancer: each new connection goes to a replica that is ready."""

import itertools
import os
import random
import shutil
import socket
import subprocess
import threading
import time

import grpc
import pytest

from content import MODEL
from world import BUILD, CLEAN, HERE, TIMEOUT, program

BUILD_TIME = 240  # seconds, for go
FILE = "config.json"
CALLERS = 4
ROUNDS = int(os.environ.get("HC_RESTART_ROUNDS", "2"))
LOAD_TIME = 0.5  # seconds of load before, between and after restarts


class Balancer:
    """Listens on one port and passes each connection on to the next ready address."""

    def __init__(self):
        self.ready = []
        self.turn = itertools.count()
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.join, args=(client,), daemon=True).start()

    def join(self, client):
        ready = list(self.ready)
        try:
            host, port = ready[next(self.turn) % len(ready)].split(":")
            server = socket.create_connection((host, int(port)))
        except OSError:
            client.close()
            return
        for end in client, server:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=self.copy, args=(client, server), daemon=True).start()
        self.copy(server, client)

    @staticmethod
    def copy(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            source.close()
            sink.close()

    def close(self):
        self.socket.close()


class PythonLoad:
    """grpcio, with the retries that the proto file asks of a client."""

    def __init__(self, pb, address):
        self.requests = [pb.ResolveFileRequest(repo_id=MODEL, filename=FILE) for _ in range(4)]
        self.requests[0].options.max_staleness.SetInParent()
        self.channel = grpc.insecure_channel(address)
        self.stub = pb.grpc.ResolverStub(self.channel)
        self.calls = self.failed = 0
        self.first = None
        self.is_over = threading.Event()
        self.threads = [threading.Thread(target=self.work) for _ in range(CALLERS)]
        for thread in self.threads:
            thread.start()

    def work(self):
        for request in itertools.cycle(self.requests):
            if self.is_over.is_set():
                return
            self.calls += 1
            try:
                self.call(request)
            except grpc.RpcError as error:
                self.failed += 1
                self.first = self.first or error

    def call(self, request):
        end = time.monotonic() + 15
        pause = 0.05
        while True:
            try:
                return self.stub.ResolveFile(request, timeout=end - time.monotonic())
            except grpc.RpcError as error:
                details = "grpc-status-details-bin" in dict(error.trailing_metadata() or ())
                is_worth_a_retry = error.code() == grpc.StatusCode.UNAVAILABLE or (
                    error.code() == grpc.StatusCode.CANCELLED and not details)
                if not is_worth_a_retry or time.monotonic() + 2 * pause > end:
                    raise
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(2 * pause, 1)

    def finish(self):
        self.is_over.set()
        for thread in self.threads:
            thread.join(TIMEOUT)
        self.channel.close()
        return self.calls, self.failed, str(self.first)


class ProgramLoad:
    """A program that calls until its standard input ends, and then says how it went."""

    def __init__(self, *command, environment=None):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True,
                                        stdout=subprocess.PIPE, env=CLEAN | (environment or {}))

    def finish(self):
        output, _ = self.process.communicate("", timeout=TIMEOUT)
        calls, failed, first = output.split(" ", 2)
        return int(calls), int(failed), first.strip()


def c_load(_pb, address):
    return ProgramLoad(program("load-client"), address, MODEL, FILE)


def go_load(pb, address):
    if not shutil.which("go"):
        pytest.skip("there is no go")
    project = BUILD.parent / "go-project"
    binary = BUILD.parent / "go-load"
    shutil.copytree(HERE / "go", project, dirs_exist_ok=True)
    try:
        built = subprocess.run(["go", "build", "-o", str(binary), "."], cwd=project, text=True,
                               env=CLEAN, capture_output=True, timeout=BUILD_TIME)
    except subprocess.TimeoutExpired:
        pytest.skip("grpc-go does not build here: it takes too long")
    if built.returncode != 0:
        pytest.skip("grpc-go does not build here: " + built.stderr.strip()[-200:])
    plain = pb.ResolveFileRequest(repo_id=MODEL, filename=FILE)
    fresh = pb.ResolveFileRequest(repo_id=MODEL, filename=FILE)
    fresh.options.max_staleness.SetInParent()
    return ProgramLoad(str(binary), address,
                       *(request.SerializeToString().hex() for request in
                         [plain, plain, plain, fresh]))


@pytest.mark.parametrize("load", [c_load, PythonLoad, go_load],
                         ids=["c", "python", "go"])
def test_a_rolling_restart_fails_no_call(load, pb, hub, serve, cache):
    replicas = [serve(cache, hub.endpoint, arguments=["--grace-period", "5s"])
                for _ in range(2)]
    balancer = Balancer()
    balancer.ready = [replica.address for replica in replicas]
    running = load(pb, balancer.address)
    ends = []

    for number in list(range(len(replicas))) * ROUNDS:
        time.sleep(LOAD_TIME)
        old = replicas[number]
        balancer.ready = [other.address for other in replicas if other is not old]
        ends.append(old.stop())
        replicas[number] = serve(cache, hub.endpoint, arguments=["--grace-period", "5s"])
        balancer.ready = [replica.address for replica in replicas]
    time.sleep(LOAD_TIME)
    calls, failed, first = running.finish()
    balancer.close()

    print(f"{calls} calls, {failed} failed, {len(ends)} restarts")
    assert (failed, first if failed else "") == (0, "")
    assert calls > 50 * len(ends)
    assert set(ends) == {0}
