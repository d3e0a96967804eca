# SPDX-License-Identifier: Apache-2.0
"""Hostile clients of a TLS listener: handshakes that stall or trickle are ended, and others are
answered meanwhile, and during a flood of calls over TLS."""

import contextlib
import socket
import ssl
import threading
import time

import grpc
import pytest

import hostile
from content import MODEL
from pki import Authority
from world import TIMEOUT, wait_until

STALLED = 20
HELLO = bytes.fromhex("16030100f0010000ec0303") + bytes(300)  # the beginning of a ClientHello


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def server(serve, cache, hub, authority, tmp_path):
    cert, key = authority.issue("IP:127.0.0.1").put(tmp_path, "server")
    credentials = grpc.ssl_channel_credentials(authority.path.read_bytes())
    return serve(cache, hub.endpoint, credentials=credentials,
                 arguments=["--tls-cert", str(cert), "--tls-key", str(key)])


def connect(server):
    host, port = server.address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=TIMEOUT)


def is_closed(connection):
    connection.settimeout(0)
    try:
        return connection.recv(100) == b""
    except (BlockingIOError, ConnectionError) as error:
        return isinstance(error, ConnectionError)


def test_handshakes_that_stall_or_trickle_are_ended(server):
    with contextlib.ExitStack() as stack:
        stalled = [stack.enter_context(connect(server)) for _ in range(STALLED)]
        for connection in stalled[::2]:
            connection.send(HELLO[:100])
        trickling = stack.enter_context(connect(server))
        sent = 0
        while not all(map(is_closed, [*stalled, trickling])):
            assert server.file(MODEL, "config.json").size_bytes > 0
            assert sent < len(HELLO), "the handshakes are not ended"
            with contextlib.suppress(OSError):
                trickling.send(HELLO[sent:sent + 1])
            sent += 1
            time.sleep(0.1)


class TlsRapidReset(hostile.RapidReset):
    def connect(self, address):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        return context.wrap_socket(super().connect(address))


def test_rapid_reset_over_tls_leaves_room_for_others(server):
    """gRPC 1.51 is rid of the attackers, the current one refuses their calls."""
    server.file(MODEL, "config.json")
    attackers = [TlsRapidReset(server.address) for _ in range(4)]
    attack = threading.Thread(target=hostile.pump_all, args=(attackers, 5))
    attack.start()
    answered = 0
    while attack.is_alive():
        with contextlib.suppress(grpc.RpcError):  # the current gRPC is short of memory
            answered += server.file(MODEL, "config.json").size_bytes > 0
    attack.join()
    assert answered > 0
    for attacker in attackers:
        attacker.close()
    wait_until(lambda: server.file(MODEL, "config.json").size_bytes > 0, "the server answers")
