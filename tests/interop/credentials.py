# SPDX-License-Identifier: Apache-2.0
"""JSON Web Tokens, right ones and wrong ones, and the files of certificates, over pki.py."""

import hashlib
import hmac
import json
import time

import pki

ISSUER = "https://issuer.example"
AUDIENCE = "hubcache"


def token_line(name, token, *groups):
    """A line of --auth-tokens."""
    return " ".join([name, "sha256:" + hashlib.sha256(token.encode()).hexdigest(), *groups]) + "\n"


class SigningKey(pki.TokenKey):
    """An RSA key of an issuer of tokens."""

    def __init__(self, folder, kid):
        super().__init__(folder, kid, "RS256")
        self.jwk = self.public()
        self.public_pem = pki.openssl("rsa", "-in", self.path, "-pubout")


def key_set(*keys):
    return pki.key_set(*keys).decode()


def claims(**changes):
    """Those of a token that is right; None leaves one out."""
    now = int(time.time())
    right = {"iss": ISSUER, "aud": AUDIENCE, "exp": now + 600, "iat": now,
             "sub": "system:serviceaccount:ml:trainer"}
    return {name: value for name, value in (right | changes).items() if value is not None}


def jwt(key, body=None, *, signature=None, **head):
    """A token; `signature` makes other ones than the key does. The head may be changed, too."""
    head = {"alg": "RS256", "typ": "JWT", "kid": key.kid} | head
    text = ".".join(pki.base64url(json.dumps(part).encode())
                    for part in (head, claims() if body is None else body)).encode()
    return f"{text.decode()}.{pki.base64url((signature or key.signature)(text))}"


def hs256(secret):
    """Signs as if the bytes were a shared secret."""
    return lambda text: hmac.new(secret, text, hashlib.sha256).digest()


class Authority:
    """Issues certificates for servers and for clients, as files."""

    def __init__(self, folder, name):
        self.signer = pki.Authority(folder, name)
        self.cert = self.signer.path

    def issue(self, name, san, days=1):
        """The paths of a certificate and its key; of one that has expired with negative days."""
        return self.signer.issue(san, "-days", days).put(self.signer.folder, name)
