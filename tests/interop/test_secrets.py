# SPDX-License-Identifier: Apache-2.0
"""Tokens and keys go where they must, and nowhere else: no output, file, message or other host has
them, and when the calls are over and their connections closed, not the memory of hubcached."""

import base64
import os
import pathlib
import re
import secrets
import urllib.error
import urllib.request

import grpc
import pytest

from content import MODEL
from credentials import (AUDIENCE, ISSUER, Authority, SigningKey, claims, jwt, key_set,
                         token_line)
from world import wait_until

BEARER, WRONG_BEARER = (secrets.token_hex(32) for _ in range(2))
CALLERS_HUB_TOKEN, BAD_HUB_TOKEN, SERVERS_HUB_TOKEN = ("hf_" + secrets.token_hex(17)
                                                       for _ in range(3))


def pieces(secret):
    """A part that is left of a token would do harm, too."""
    return [secret[:20].encode(), secret[-20:].encode()]


def found_in(data, named):
    return [name for name, secret in named.items()
            if any(piece in data for piece in pieces(secret))]


class Given:
    """A hubcached with TLS and every way to prove an identity, and the secrets around it."""

    def __init__(self, folder, serve, hub, log_format):
        self.folder, self.hub, self.outputs = folder, hub, []
        folder.joinpath("tmp").mkdir()
        authority = Authority(folder, "authority")
        certificate, key = authority.issue("server", "DNS:localhost,IP:127.0.0.1")
        signer = SigningKey(folder, "signer")
        self.write("jwks", key_set(signer))
        self.write("tokens", token_line("alice", BEARER, "ops"))
        self.write("hub-token", SERVERS_HUB_TOKEN + "\n")
        self.jwt, self.wrong_jwt = jwt(signer), jwt(signer, claims(aud="other"))
        self.server = serve(
            folder / "cache", hub.endpoint, environment={"TMPDIR": str(folder / "tmp")},
            arguments=["--tls-cert", certificate, "--tls-key", key, "--log-level", "debug",
                       "--log-format", log_format, "--http-listen", "127.0.0.1:0",
                       "--auth-tokens", folder / "tokens", "--auth-jwt-issuer", ISSUER,
                       "--auth-jwt-audience", AUDIENCE, "--auth-jwt-keys", folder / "jwks",
                       "--token-file", folder / "hub-token",
                       "--audit-log", folder / "audit"])
        self.http = self.server.process.stdout.readline().split()[1]
        self.trusted = grpc.ssl_channel_credentials(authority.cert.read_bytes())
        self.secrets = {"bearer": BEARER, "wrong bearer": WRONG_BEARER, "JWT": self.jwt,
                        "wrong JWT": self.wrong_jwt, "caller's Hub token": CALLERS_HUB_TOKEN,
                        "refused Hub token": BAD_HUB_TOKEN,
                        "server's Hub token": SERVERS_HUB_TOKEN}
        self.secrets |= {f"login {number}": self.login(password)
                         for number, password in enumerate([BEARER, WRONG_BEARER])}
        self.key = "".join(key.read_text().splitlines()[1:-1])

    @staticmethod
    def login(password):
        return base64.b64encode(f"user:{password}".encode()).decode()

    def write(self, name, text):
        self.folder.joinpath(name).write_text(text)

    def connect(self):
        self.server.channel.close()
        self.server.channel = grpc.secure_channel(self.server.address, self.trusted)
        self.server.stub = self.server.pb.grpc.ResolverStub(self.server.channel)

    def call(self, method, bearer=BEARER, hub_token=None, **fields):
        """Keeps all that the client gets to see."""
        headers = [("authorization", f"Bearer {bearer}")]
        if hub_token:
            headers.append(("x-hub-token", hub_token))
        try:
            self.outputs.append(repr(getattr(self.server, method)(metadata=headers, **fields)))
        except grpc.RpcError as error:
            self.outputs += [error.details(), repr(error.trailing_metadata())]

    def get(self, path, authorization=None):
        headers = {"Authorization": authorization} if authorization else {}
        try:
            with urllib.request.urlopen(
                    urllib.request.Request(self.http + path, headers=headers)) as answer:
                text = answer.read().decode() + str(answer.headers)
        except urllib.error.HTTPError as error:
            text = error.read().decode()
        self.outputs.append(text)
        return text

    def connections(self):
        return int(re.search(r"(?m)^hubcache_client_connections (\d+)", self.get("/metrics"))[1])

    def memory(self):
        """Each readable part; a part may vanish meanwhile."""
        process = f"/proc/{self.server.process.pid}"
        with open(f"{process}/maps") as maps, open(f"{process}/mem", "rb", 0) as memory:
            for line in maps:
                start, end = (int(word, 16) for word in line.split()[0].split("-"))
                if line.split()[1].startswith("r") and "[v" not in line:
                    try:
                        memory.seek(start)
                        yield memory.read(end - start)
                    except OSError:
                        continue

    def found_in_memory(self):
        return sorted({name for part in self.memory() for name in found_in(part, self.secrets)})


def make_calls(given):
    """Hits, misses, redirects, refusals of callers and by the Hub, and an outage."""
    file = {"repo_id": MODEL, "filename": "config.json"}
    given.connect()
    for _ in range(3):
        given.call("ResolveFile", **file)
        given.call("ResolveFile", bearer=given.jwt, hub_token=CALLERS_HUB_TOKEN, **file)
    given.call("ResolveSnapshot", repo_id=MODEL, hub_token=CALLERS_HUB_TOKEN)
    given.call("ResolveSnapshot", repo_id=MODEL)
    given.call("ResolveFile", repo_id=MODEL, filename="no-such-file")
    given.call("ResolveFile", repo_id=MODEL, filename="../escape", hub_token=CALLERS_HUB_TOKEN)
    for bearer in (WRONG_BEARER, given.wrong_jwt):
        given.call("ResolveFile", bearer=bearer, hub_token=CALLERS_HUB_TOKEN, **file)
    for status in (401, 403, 500):
        given.hub.rule("status", number=status, times=20)
        given.call("ResolveFile", repo_id=MODEL, filename="README.md", hub_token=BAD_HUB_TOKEN,
                   options={"force_download": True}, timeout=0.5)
        given.hub.clear_rules()
    given.call("ResolveFile", hub_token="two words", **file)


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_secrets_are_in_no_output_file_message_or_memory(log_format, tmp_path, serve, hub):
    given = Given(tmp_path, serve, hub, log_format)

    make_calls(given)
    for path in ("/", "/metrics", "/healthz", "/none"):
        given.get(path)
    for password in (BEARER, WRONG_BEARER):
        given.get("/status.json", f"Bearer {password}")
        given.get("/", "Basic " + given.login(password))
    given.server.channel.close()
    wait_until(lambda: given.connections() == 0, "the connections are closed")

    everything = given.secrets | {"key": given.key}
    assert found_in("".join(given.outputs).encode(), everything) == []
    assert found_in(given.server.log().encode(), everything) == []
    assert found_in((tmp_path / "audit").read_bytes(), everything) == []
    assert "alice" in given.server.log() and "system:serviceaccount" in given.server.log()
    command = pathlib.Path(f"/proc/{given.server.process.pid}/cmdline").read_bytes()
    assert found_in(command, everything) == []
    files = [path for folder in ("cache", "tmp") for path in (tmp_path / folder).rglob("*")]
    assert len(files) > 20
    for path in files:
        assert found_in(str(path).encode(), everything) == []
        if path.is_file():
            assert found_in(path.read_bytes(), everything) == [], path
    storage = [request for request in hub.log() if request.port == "cdn"]
    assert storage and not any(request.has_token for request in storage)
    assert any(request.has_token for request in hub.log())
    if os.geteuid() == 0:
        wait_until(lambda: given.found_in_memory() == [],
                   "the memory has no token")
