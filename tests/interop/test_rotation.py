# SPDX-License-Identifier: Apache-2.0
"""Certificates of both sides, the authorities they trust, tokens and keys of JWTs are replaced again
and again while several processes call. No call fails."""

import hashlib
import itertools
import threading
import time

import grpc

from content import MODEL
from pki import Authority, TokenKey, key_set, put
from test_rolling_restart import ProgramLoad
from world import hubcache, program, wait_until

FILE = "config.json"
ISSUER, AUDIENCE = "https://issuer.example", "hubcache"
STEPS, PAUSE = 4, 0.3


class Secrets:
    """The files of the server and of its clients. Each step replaces all of them; what is withdrawn
    was replaced a step before."""

    def __init__(self, folder):
        self.folder, self.number = folder, itertools.count()
        self.authorities = [Authority(folder, name) for name in ("first", "second")]
        self.keys, self.tokens = [TokenKey(folder, "key-0")], ["secret-0"]
        self.issue()

    def issue(self):
        """Certificates of the one authority and of the other in turn; both are trusted."""
        number = next(self.number)
        issuer = self.authorities[number % 2]
        self.server = issuer.issue("IP:127.0.0.1").swap(self.folder / "server")
        self.client = issuer.issue("URI:spiffe://test/caller").swap(self.folder / "client")
        put(self.folder / "ca.pem", b"".join(
            each.path.read_bytes() for each in self.authorities[::(-1) ** number]))
        self.write_tokens()
        put(self.folder / "token", self.tokens[-1].encode())
        self.write_keys()

    def write_tokens(self):
        put(self.folder / "tokens", "".join(
            f"caller-{at} sha256:{hashlib.sha256(token.encode()).hexdigest()}\n"
            for at, token in enumerate(self.tokens)).encode())

    def write_keys(self):
        """The server does not know the new key at once; it asks for a repetition then."""
        now = int(time.time())
        put(self.folder / "keys", key_set(*self.keys))
        put(self.folder / "jwt", self.keys[-1].sign(
            iss=ISSUER, aud=AUDIENCE, sub="caller", iat=now, exp=now + 600).encode())

    def step(self, server):
        self.keys = [self.keys[-1], TokenKey(self.folder, f"key-{next(self.number)}")]
        self.tokens = [self.tokens[-1], f"secret-{next(self.number)}"]
        self.write_tokens()
        put(self.folder / "next-token", self.tokens[-1].encode())
        wait_until(lambda: self.run("info", "--wait", "0", "--token-file", "next-token",
                                    server=server).returncode == 0, "the server has read the token")
        self.issue()

    def run(self, *arguments, server):
        arguments = [self.folder / each if each.endswith("token") else each for each in arguments]
        return hubcache("--tls-ca", str(self.folder / "ca.pem"), *map(str, arguments),
                        server=server)

    def options(self):
        cert, key = self.server
        return list(map(str, [
            "--tls-cert", cert, "--tls-key", key, "--tls-client-ca", self.folder / "ca.pem",
            "--tls-client-optional", "--auth-required", "--auth-tokens", self.folder / "tokens",
            "--auth-jwt-issuer", ISSUER, "--auth-jwt-audience", AUDIENCE,
            "--auth-jwt-keys", self.folder / "keys"]))

    def environments(self):
        """Of a client with a certificate, with a token, and with a JWT."""
        cert, key = self.client
        trusting = {"HUBCACHE_TLS_CA": str(self.folder / "ca.pem")}
        return [trusting | {"HUBCACHE_TLS_CERT": str(cert), "HUBCACHE_TLS_KEY": str(key)},
                trusting | {"HUBCACHE_TOKEN_FILE": str(self.folder / "token")},
                trusting | {"HUBCACHE_TOKEN_FILE": str(self.folder / "jwt")}]


class CommandLoad:
    """The command over and over, each time over a new connection."""

    def __init__(self, environments, server):
        self.environments, self.server = itertools.cycle(environments), server
        self.is_over = threading.Event()
        self.calls, self.failures = 0, []
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def work(self):
        while not self.is_over.wait(0.02):
            done = hubcache("file", MODEL, FILE, server=self.server,
                            environment=next(self.environments))
            self.calls += 1
            if done.returncode != 0:
                self.failures.append(done.stderr)

    def finish(self):
        self.is_over.set()
        self.thread.join()
        return self.calls, len(self.failures), "".join(self.failures[:1])


def test_replacing_credentials_fails_no_call(serve, cache, hub, tmp_path):
    secrets = Secrets(tmp_path)
    server = serve(cache, hub.endpoint, credentials=grpc.ssl_channel_credentials(),
                   arguments=[*secrets.options(), "--max-connection-age", "1s"])
    loads = [ProgramLoad(program("load-client"), server.address, MODEL, FILE, environment=each)
             for each in secrets.environments()]
    loads.append(CommandLoad(secrets.environments(), server))
    try:
        for _ in range(STEPS):
            time.sleep(PAUSE)
            secrets.step(server)
    finally:
        results = [load.finish() for load in loads]
    print(*results)
    assert [(failed, why) for _, failed, why in results if failed] == []
    assert min(calls for calls, *_ in results) > STEPS
