# SPDX-License-Identifier: Apache-2.0
"""The attacks of docs/security.md, each tried from outside against the real hubcached. Each says
what happened: pytest -s shows the table, HC_TRANSCRIPT=FILE writes it down."""

import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import warnings

import grpc
import pytest

from credentials import (AUDIENCE, ISSUER, Authority, SigningKey, claims, hs256, jwt, key_set,
                         token_line)
from world import ROOT, TIMEOUT, Hub, Server, reason_of, wait_until

TOKEN = "the-token-of-alice"
REPO = "org/model"
ATTACKS = {}  # by name: a function of the place, which returns what happened


def attack(name):
    def enter(function):
        ATTACKS[name] = function
        return function
    return enter


class Place:
    """Two servers over one Hub: one in clear text that requires tokens, one with mutual TLS."""

    def __init__(self, folder, pb):
        self.folder = folder
        self.hub = Hub()
        self.hub.commit(f"models/{REPO}", {"config.json": b"{}"})
        self.authority, self.foreign = (Authority(folder, name) for name in ("ours", "foreign"))
        self.signer, self.next_signer, self.mallory = (
            SigningKey(folder, kid) for kid in ("first", "second", "mallory"))
        self.write("tokens", token_line("alice", TOKEN))
        self.write("jwks", key_set(self.signer))
        self.plain = Server(
            pb, folder / "plain", self.hub.endpoint,
            arguments=["--auth-required", "--auth-tokens", folder / "tokens",
                       "--auth-jwt-issuer", ISSUER, "--auth-jwt-audience", AUDIENCE,
                       "--auth-jwt-keys", folder / "jwks", "--http-listen", "127.0.0.1:0"])
        self.http = self.plain.process.stdout.readline().split("//")[1].strip()
        certificate, key = self.authority.issue("server", "DNS:hubcache.example,IP:127.0.0.1")
        shutil.copy(self.authority.cert, folder / "clients.crt")
        self.tls = Server(pb, folder / "tls", self.hub.endpoint,
                          arguments=["--tls-cert", certificate, "--tls-key", key,
                                     "--tls-client-ca", folder / "clients.crt"])
        self.loris = SlowLoris({"gRPC": (self.plain.address, b"PRI * HTTP/2"),
                                "TLS": (self.tls.address, b"\x16\x03\x01\x02\x00\x01"),
                                "HTTP": (self.http, b"GET /healthz HTTP/1.1\r\nHost: ")})

    def close(self):
        self.plain.stop()
        self.tls.stop()
        self.hub.stop()

    def write(self, name, text):
        self.folder.joinpath(name).write_text(text)

    def ask(self, bearer=TOKEN, method="ResolveFile", scheme="Bearer ", **fields):
        metadata = [("authorization", scheme + bearer)] if bearer else None
        fields = fields or {"repo_id": REPO, "filename": "config.json"}
        return getattr(self.plain, method)(metadata=metadata, **fields)

    def refusal(self, *expected, **request):
        """What became of a call that has to fail with one of these reasons."""
        with pytest.raises(grpc.RpcError) as failure:
            self.ask(**request)
        reason, message, _ = reason_of(failure.value)
        assert reason in expected, f"{reason}: {message}"
        return f"{reason}: {message.partition(': send the header')[0]}"

    def unauthenticated(self, bearer, **request):
        return self.refusal("CALLER_UNAUTHENTICATED", bearer=bearer, **request)

    def all_refused(self, reasons, field, values):
        told = [self.refusal(*reasons, **{"repo_id": REPO, "filename": "config.json", field: value})
                for value in values]
        assert not (self.folder / "escaped").exists()
        return f"{len(told)} spellings: {told[0]}"

    def connect_tls(self, certificate=None, trusted=None, name=None):
        """Calls with that client certificate; the status."""
        key = certificate and certificate[1].read_bytes()
        chain = certificate and certificate[0].read_bytes()
        credentials = grpc.ssl_channel_credentials((trusted or self.authority).cert.read_bytes(),
                                                   key, chain)
        options = [("grpc.ssl_target_name_override", name)] if name else []
        with grpc.secure_channel(self.tls.address, credentials, options) as channel:
            stub = self.tls.pb.grpc.ResolverStub(channel)
            try:
                stub.GetServerInfo(self.tls.pb.GetServerInfoRequest(), timeout=TIMEOUT)
            except grpc.RpcError as error:
                return error.code().name
        return "OK"

    def tls_refused(self, *arguments, **options):
        assert self.connect_tls(*arguments, **options) == "UNAVAILABLE"
        assert self.connect_tls(self.client()) == "OK"
        return "the handshake fails; a client of ours gets in"

    def client(self):
        return self.authority.issue("client", "URI:spiffe://example/trainer")


class SlowLoris:
    """Sends the beginning of something to each, and no more; notes when the server hangs up."""

    def __init__(self, targets):
        self.seconds = {}
        self.threads = [threading.Thread(target=self._wait, args=(name, *target), daemon=True)
                        for name, target in targets.items()]
        for thread in self.threads:
            thread.start()

    def _wait(self, name, address, beginning):
        host, port = address.rsplit(":", 1)
        with socket.create_connection((host, int(port))) as connection:
            begun = time.monotonic()
            connection.settimeout(TIMEOUT)
            connection.sendall(beginning)
            while connection.recv(4096):
                pass
            self.seconds[name] = time.monotonic() - begun

    def closed(self, name):
        for thread in self.threads:
            thread.join(TIMEOUT)
        assert self.seconds[name] < 15
        return f"the connection is closed after {self.seconds[name]:.0f} s; others are served"


# --- who calls --------------------------------------------------------------------------------


@attack("no token")
def _(place):
    return place.unauthenticated(None)


@attack("wrong token")
def _(place):
    return place.unauthenticated(TOKEN + "x")


@attack("the hash of a token as the token")
def _(place):
    line = place.folder.joinpath("tokens").read_text().split()[1]
    return place.unauthenticated(line.partition(":")[2])


@attack("a token of another scheme")
def _(place):
    return place.unauthenticated(TOKEN, scheme="Basic ")


@attack("expired token")
def _(place):
    now = int(time.time())
    assert place.ask(bearer=jwt(place.signer)).file.path
    return place.unauthenticated(jwt(place.signer, claims(iat=now - 700, exp=now - 60)))


@attack("token without an end")
def _(place):
    return place.unauthenticated(jwt(place.signer, claims(exp=None)))


@attack("token of the future")
def _(place):
    return place.unauthenticated(jwt(place.signer, claims(nbf=int(time.time()) + 300)))


@attack("wrong audience")
def _(place):
    return place.unauthenticated(jwt(place.signer, claims(aud="another-service")))


@attack("wrong issuer")
def _(place):
    return place.unauthenticated(jwt(place.signer, claims(iss="https://evil.example")))


@attack("alg none")
def _(place):
    told = [place.unauthenticated(jwt(place.signer, alg=name, signature=lambda text: b""))
            for name in ("none", "None", "NONE", "")]
    return told[0]


@attack("key confusion")
def _(place):
    """The public RSA key, which all may know, as the secret of an HMAC."""
    told = [place.unauthenticated(jwt(place.signer, alg="HS256", signature=hs256(secret)))
            for secret in (place.signer.public_pem, place.signer.public_pem.strip(),
                           place.signer.jwk["n"].encode())]
    return told[0]


@attack("changed claims")
def _(place):
    right = jwt(place.signer).split(".")
    other = jwt(place.signer, claims(sub="system:serviceaccount:kube-system:admin")).split(".")
    return place.unauthenticated(".".join([right[0], other[1], right[2]]))


@attack("key in the token")
def _(place):
    told = [place.unauthenticated(jwt(place.mallory, kid=place.signer.kid, **head))
            for head in ({"jwk": place.mallory.jwk}, {"jku": "https://evil.example/jwks"})]
    return told[0]


@attack("unknown kid")
def _(place):
    return place.unauthenticated(jwt(place.mallory))


@attack("rotated key")
def _(place):
    old, new = jwt(place.signer), jwt(place.next_signer)
    assert place.ask(bearer=old).file.path
    place.write("jwks", key_set(place.next_signer))
    place.plain.process.send_signal(signal.SIGHUP)

    def is_new_accepted():
        try:
            return bool(place.ask(bearer=new).file.path)
        except grpc.RpcError:
            return False

    wait_until(is_new_accepted, "the new key counts")
    return place.unauthenticated(old)


# --- TLS ----------------------------------------------------------------------------------------


@attack("no client certificate")
def _(place):
    return place.tls_refused()


@attack("foreign CA")
def _(place):
    return place.tls_refused(place.foreign.issue("client", "URI:spiffe://example/trainer"))


@attack("expired certificate")
def _(place):
    return place.tls_refused(place.authority.issue("late", "URI:spiffe://example/late", days=-1))


@attack("foreign SAN")
def _(place):
    """A server that has a right certificate, but for another name."""
    return "the client refuses: " + place.tls_refused(place.client(), name="other.example")


@attack("server of a foreign CA")
def _(place):
    return "the client refuses: " + place.tls_refused(place.client(), trusted=place.foreign)


@attack("revoked certificate")
def _(place):
    """Its authority is replaced; there are no revocation lists."""
    revoked = place.client()
    replaced = Authority(place.folder, "replaced")
    assert place.connect_tls(revoked) == "OK"
    shutil.copy(replaced.cert, place.folder / "next.crt")
    os.replace(place.folder / "next.crt", place.folder / "clients.crt")
    place.tls.process.send_signal(signal.SIGHUP)
    wait_until(lambda: place.connect_tls(revoked) == "UNAVAILABLE", "the authority is replaced")
    fresh = replaced.issue("client", "URI:spiffe://example/trainer")
    assert place.connect_tls(fresh) == "OK"
    return "refused as soon as its authority is replaced and SIGHUP is sent"


@attack("plaintext to a TLS port")
def _(place):
    host, port = place.tls.address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), TIMEOUT) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        answer = connection.recv(4096)
        assert b"\x15\x03" == answer[:2] or answer == b"", answer  # a TLS alert
    return "the connection is closed with a TLS alert" if answer else "the connection is closed"


@attack("old TLS version")
def _(place):
    warnings.simplefilter("ignore", DeprecationWarning)  # of TLS 1.1, which is the point
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    host, port = place.tls.address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), TIMEOUT) as connection:
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            context.wrap_socket(connection).do_handshake()
    return "the handshake of TLS 1.1 fails"


# --- paths --------------------------------------------------------------------------------------

ESCAPES = ["..", "../escaped", "../../escaped", "a/../../escaped", "/escaped", "//escaped",
           "./../escaped", "a/./../../escaped", "a\0/../escaped"]  # as a client sends them


@attack("repo id that escapes")
def _(place):
    return place.all_refused(["INVALID_REPO_ID"], "repo_id",
                             ESCAPES + ["org/..", "../org", "org/name/../x", "org--x/../y", "-x/y"])


@attack("file name that escapes")
def _(place):
    return place.all_refused(["INVALID_FILENAME"], "filename", ESCAPES + ["a/..", "..\\escaped"])


@attack("subfolder that escapes")
def _(place):
    return place.all_refused(["INVALID_FILENAME"], "subfolder", ESCAPES)


@attack("revision that escapes")
def _(place):
    return place.all_refused(["INVALID_REVISION"], "revision",
                             ESCAPES + ["refs/../../escaped", "main/../../escaped"])


@attack("URL-encoded escapes")
def _(place):
    """They are names like any others, and are encoded again: the Hub has no such file."""
    return place.all_refused(["ENTRY_NOT_FOUND", "INVALID_FILENAME"], "filename",
                             ["%2e%2e%2fescaped", "%2e%2e/escaped", "..%2fescaped",
                              "%00", "%252e%252e%252fescaped"])


@attack("symlink on the volume")
def _(place):
    """Another client of the volume lets a file of a snapshot lead out of the cache."""
    pointer = pathlib.Path(place.ask().file.path)
    pointer.unlink()
    pointer.symlink_to("/etc/passwd")
    stream = place.plain.stub.ReadFile(
        place.plain.pb.ReadFileRequest(file={"repo_id": REPO, "filename": "config.json"}),
        metadata=[("authorization", f"Bearer {TOKEN}")], timeout=TIMEOUT)
    with pytest.raises(grpc.RpcError) as failure:
        list(stream)
    reason, message, _ = reason_of(failure.value)
    assert reason == "CACHE_IO", message
    assert "outside of the cache root" in message
    pointer.unlink()
    return f"{reason}: its bytes are not given out"


@attack("Hub whose tree escapes")
def _(place):
    place.hub.commit("models/org/evil", {"../../../escaped": b"x", "fine.txt": b"y"})
    with pytest.raises(grpc.RpcError) as failure:
        place.ask(method="ResolveSnapshot", repo_id="org/evil")
    reason, message, _ = reason_of(failure.value)
    assert reason in ("BAD_HUB_REPLY", "INVALID_FILENAME"), message
    assert not list(place.folder.rglob("escaped"))
    return f"{reason}: {message}"


# --- the process --------------------------------------------------------------------------------


@attack("path of the HTTP port that escapes")
def _(place):
    answers = []
    for path in ("/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/metrics/../x"):
        host, port = place.http.rsplit(":", 1)
        with socket.create_connection((host, int(port)), TIMEOUT) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
            answer = b""
            while part := connection.recv(4096):
                answer += part
        assert b"root:" not in answer
        answers.append(answer.split()[1].decode())
    assert set(answers) <= {"401", "404"}, answers
    return "status " + " and ".join(sorted(set(answers)))


@attack("core file")
def _(place):
    """A crash, with all that the shell allows; `cwd` is where the kernel would put the file."""
    cwd = place.folder / "core"
    cwd.mkdir()
    server = Server(place.plain.pb, place.folder / "crash", place.hub.endpoint,
                    before=["sh", "-c", 'cd "$0" && ulimit -c unlimited; exec "$@"', str(cwd)])
    server.process.send_signal(signal.SIGQUIT)
    server.process.wait(TIMEOUT)
    server.stop()
    assert server.process.returncode == -signal.SIGQUIT
    assert list(cwd.iterdir()) == []
    return "there is none"


@attack("memory read by another process of the user")
def _(place):
    if os.geteuid() != 0:
        pytest.skip("needs a second user")
    uid = 12345
    folder = pathlib.Path("/tmp") if os.access("/tmp", os.W_OK) else place.folder
    process = place.plain.process.pid
    server = subprocess.run(
        ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "sh", "-c",
         f"cat /proc/{process}/environ /proc/{process}/mem"], cwd=folder, capture_output=True,
        text=True, check=False)
    assert server.returncode != 0 and "Permission denied" in server.stderr
    return "Permission denied"


@attack("slow loris on the gRPC port")
def _(place):
    assert place.ask().file.path
    return place.loris.closed("gRPC")


@attack("slow loris in the TLS handshake")
def _(place):
    return place.loris.closed("TLS")


@attack("slow loris on the HTTP port")
def _(place):
    return place.loris.closed("HTTP")


@pytest.fixture(scope="module")
def place(tmp_path_factory, pb):
    place = Place(tmp_path_factory.mktemp("attacks"), pb)
    yield place
    place.close()


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_fails(name, place):
    what = ATTACKS[name](place)

    print(f"{name} → {what}")
    if os.environ.get("HC_TRANSCRIPT"):
        with open(os.environ["HC_TRANSCRIPT"], "a", encoding="utf-8") as transcript:
            transcript.write(f"{name} → {what}\n")
    assert place.plain.process.poll() is None and place.tls.process.poll() is None


def documented():
    """The tests that the rows of docs/security.md name: (file, name)."""
    text = ROOT.joinpath("docs/security.md").read_text().partition("## Attacks")[2]
    rows = [line for line in text.splitlines() if line.startswith("|")]
    attacks = [row for row in rows if not row.startswith(("| attack |", "|---"))]
    named = [re.search(r"\| `([^`:]+): ([^`]+)` \|$", row) for row in attacks]
    assert all(named), [row for row, test in zip(attacks, named) if not test]
    return [test.groups() for test in named]


def test_each_row_of_the_documentation_has_its_test():
    tests = documented()
    here = pathlib.Path(__file__).name

    assert {name for file, name in tests if file == here} == ATTACKS.keys()
    for file, name in tests:
        found = [path for path in (ROOT / "tests").glob(f"*/{file}")]
        assert found, file
        assert file == here or name in found[0].read_text(), f"{file} has no {name}"
