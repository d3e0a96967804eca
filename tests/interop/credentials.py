# SPDX-License-Identifier: Apache-2.0
"""Certificates and JSON Web Tokens, made by the program openssl: right ones and wrong ones."""

import base64
import hashlib
import hmac
import json
import pathlib
import subprocess
import time

ISSUER = "https://issuer.example"
AUDIENCE = "hubcache"


def _openssl(*words, given=None):
    return subprocess.run(["openssl", *map(str, words)], input=given, check=True,
                          capture_output=True).stdout


def token_line(name, token, *groups):
    """A line of --auth-tokens."""
    return " ".join([name, "sha256:" + hashlib.sha256(token.encode()).hexdigest(), *groups]) + "\n"


def _base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class SigningKey:
    """An RSA key of an issuer of tokens."""

    def __init__(self, folder, kid):
        self.kid = kid
        self.path = pathlib.Path(folder, kid + ".pem")
        _openssl("genrsa", "-out", self.path, 2048)
        modulus = _openssl("rsa", "-in", self.path, "-noout", "-modulus")
        self.jwk = {"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "e": "AQAB",
                    "n": _base64url(bytes.fromhex(modulus.decode().strip().partition("=")[2]))}
        self.public_pem = _openssl("rsa", "-in", self.path, "-pubout")

    def sign(self, text):
        return _openssl("dgst", "-sha256", "-sign", self.path, given=text)


def key_set(*keys):
    return json.dumps({"keys": [key.jwk for key in keys]})


def claims(**changes):
    """Those of a token that is right; None leaves one out."""
    now = int(time.time())
    right = {"iss": ISSUER, "aud": AUDIENCE, "exp": now + 600, "iat": now,
             "sub": "system:serviceaccount:ml:trainer"}
    return {name: value for name, value in (right | changes).items() if value is not None}


def jwt(key, body=None, *, signature=None, **head):
    """A token; `signature` makes other ones than the key does. The head may be changed, too."""
    head = {"alg": "RS256", "typ": "JWT", "kid": key.kid} | head
    text = ".".join(_base64url(json.dumps(part).encode())
                    for part in (head, claims() if body is None else body)).encode()
    return f"{text.decode()}.{_base64url((signature or key.sign)(text))}"


def hs256(secret):
    """Signs as if the bytes were a shared secret."""
    return lambda text: hmac.new(secret, text, hashlib.sha256).digest()


class Authority:
    """Issues certificates for servers and for clients."""

    def __init__(self, folder, name):
        self.folder = pathlib.Path(folder)
        self.name = name
        self.cert = self.folder / f"{name}.crt"
        self.key = self.folder / f"{name}.key"
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc",
                 "-keyout", self.key, "-out", self.cert, "-days", 2, "-subj", f"/CN={name}",
                 "-addext", "keyUsage=critical,keyCertSign")

    def issue(self, name, san, days=1):
        """The paths of a certificate and its key; of one that has expired with negative days."""
        cert, key, request, extensions = (self.folder / f"{self.name}-{name}.{kind}"
                                          for kind in ("crt", "key", "csr", "ext"))
        _openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc",
                 "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        extensions.write_text(f"subjectAltName={san}\nextendedKeyUsage=serverAuth,clientAuth\n")
        _openssl("x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.key,
                 "-CAcreateserial", "-days", days, "-extfile", extensions, "-out", cert)
        return cert, key
