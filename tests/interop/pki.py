# SPDX-License-Identifier: Apache-2.0
"""Certificates and signed tokens for tests, made with openssl(1)."""

import base64
import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import time


def openssl(*arguments, data=None):
    done = subprocess.run(["openssl", *map(str, arguments)], input=data, capture_output=True)
    assert done.returncode == 0, f"openssl {arguments[0]}: {done.stderr.decode()}"
    return done.stdout


def put(path, content):
    """Replaces a file by rename, as a reader sees the old one or the new one."""
    private = path.with_name(path.name + ".new")
    private.write_bytes(content)
    os.replace(private, path)


@dataclasses.dataclass(frozen=True)
class Pair:
    """A certificate, and its key, in PEM."""

    cert: bytes
    key: bytes

    def put(self, folder, name):
        """Writes <name>.pem and <name>.key; returns the two paths."""
        paths = pathlib.Path(folder, name + ".pem"), pathlib.Path(folder, name + ".key")
        for path, content in zip(paths, (self.cert, self.key)):
            put(path, content)
        return paths

    def swap(self, folder):
        """Puts tls.crt and tls.key below `folder` as Kubernetes does with a mounted Secret: both
        change in one moment, by a symlink to a directory."""
        folder.mkdir(exist_ok=True)
        version = folder / f"..{time.time_ns()}"
        version.mkdir()
        (version / "tls.crt").write_bytes(self.cert)
        (version / "tls.key").write_bytes(self.key)
        (folder / "..new").symlink_to(version.name)
        old = os.readlink(folder / "..data") if (folder / "..data").is_symlink() else None
        os.replace(folder / "..new", folder / "..data")
        for name in "tls.crt", "tls.key":
            with contextlib.suppress(FileExistsError):
                (folder / name).symlink_to(f"..data/{name}")
        if old:
            for path in (folder / old).iterdir():
                path.unlink()
            (folder / old).rmdir()
        return folder / "tls.crt", folder / "tls.key"


class Authority:
    """Signs certificates; works in `folder`."""

    def __init__(self, folder, name="authority"):
        self.folder = pathlib.Path(folder, name)
        self.folder.mkdir()
        self.path = self.folder / "ca.pem"
        self.key = self.folder / "ca.key"
        openssl("req", "-x509", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-nodes", "-subj", f"/CN={name}", "-days", 2, "-keyout", self.key,
                "-out", self.path)

    def issue(self, names, *dates):
        """A Pair for subject alternative names, such as "DNS:localhost,IP:127.0.0.1"; `dates`
        are options of openssl x509, by default one day from now on."""
        request, key = self.folder / "request", self.folder / "key"
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-subj", "/CN=test", "-addext", f"subjectAltName={names}", "-keyout", key,
                "-out", request)
        cert = openssl("x509", "-req", "-in", request, "-CA", self.path, "-CAkey", self.key,
                       "-CAcreateserial", "-copy_extensions", "copy",
                       *(dates or ("-days", 1)))
        return Pair(cert, key.read_bytes())


def base64url(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


class TokenKey:
    """Signs JSON Web Tokens by ES256 or RS256."""

    def __init__(self, folder, kid, alg="ES256"):
        self.path, self.kid, self.alg = pathlib.Path(folder, f"{kid}.jwt.key"), kid, alg
        kind = ["EC", "ec_paramgen_curve:P-256"] if alg == "ES256" else ["RSA",
                                                                        "rsa_keygen_bits:2048"]
        openssl("genpkey", "-algorithm", kind[0], "-pkeyopt", kind[1], "-out", self.path)

    def public(self):
        """As a JWK."""
        if self.alg == "ES256":
            point = openssl("pkey", "-in", self.path, "-pubout", "-outform", "DER")[-64:]
            key = {"kty": "EC", "crv": "P-256", "x": base64url(point[:32]),
                   "y": base64url(point[32:])}
        else:
            text = openssl("rsa", "-in", self.path, "-modulus", "-noout").decode()
            key = {"kty": "RSA", "e": "AQAB",
                   "n": base64url(bytes.fromhex(text.strip().partition("=")[2]))}
        return key | {"kid": self.kid, "alg": self.alg, "use": "sig"}

    def signature(self, text):
        signature = openssl("dgst", "-sha256", "-sign", self.path, data=text)
        return raw_signature(signature) if self.alg == "ES256" else signature

    def sign(self, **claims):
        head = {"alg": self.alg, "kid": self.kid, "typ": "JWT"}
        text = ".".join(base64url(json.dumps(part).encode()) for part in (head, claims))
        return f"{text}.{base64url(self.signature(text.encode()))}"


def raw_signature(der):
    """r and s, 32 bytes each, of the DER that OpenSSL writes."""
    numbers, at = [], 2
    for _ in range(2):
        length = der[at + 1]
        numbers.append(int.from_bytes(der[at + 2:at + 2 + length], "big").to_bytes(32, "big"))
        at += 2 + length
    return b"".join(numbers)


def key_set(*keys):
    """A JWKS of TokenKeys."""
    return json.dumps({"keys": [key.public() for key in keys]}).encode()
