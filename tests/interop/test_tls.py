# SPDX-License-Identifier: Apache-2.0
"""TLS between the command and hubcached; and replicas behind one name."""

import re
import urllib.request

import grpc
import pytest

from content import MODEL
from pki import Authority
from test_rolling_restart import ProgramLoad
from world import BUILD, TIMEOUT, hubcache, program, wait_until

FILE = "config.json"
ONCE = ["--wait", "0"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("foreign"), "foreign")


@pytest.fixture
def serve_tls(serve, cache, hub, authority, tmp_path):
    """serve_tls(names, *arguments) starts a hubcached whose certificate is for `names`."""

    def start(names="IP:127.0.0.1", *arguments):
        cert, key = authority.issue(names).put(tmp_path, "server")
        return serve(cache, hub.endpoint, credentials=grpc.ssl_channel_credentials(),
                     arguments=["--tls-cert", str(cert), "--tls-key", str(key), *arguments])

    return start


def ask(server, *arguments, environment=None):
    return hubcache(*ONCE, *map(str, arguments), "file", MODEL, FILE, server=server,
                    environment=environment)


def assert_answers(done):
    assert done.returncode == 0 and done.stdout.strip().endswith(FILE), done.stderr


def assert_says(done, word):
    """Fails as unavailable, and says what is wrong in one line."""
    assert done.returncode == 5 and done.stdout == "", done
    assert word in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


def test_options_of_tls(serve_tls, authority):
    server = serve_tls("DNS:cache.example")
    trusting = ["--tls-ca", authority.path]
    assert_answers(ask(server, *trusting, "--tls-server-name", "cache.example"))
    assert_answers(ask(server, environment={"HUBCACHE_TLS_CA": str(authority.path),
                                            "HUBCACHE_TLS_SERVER_NAME": "cache.example"}))
    assert_says(ask(server, *trusting), "another name")
    assert_says(ask(server, *trusting, "--tls-server-name", "other.example"), "another name")


def test_the_address_may_ask_for_tls(serve_tls, authority):
    server = serve_tls()
    done = hubcache("--server", f"https://{server.address}", "--tls-ca", str(authority.path),
                    "file", MODEL, FILE)
    assert_answers(done)


def test_what_is_wrong_is_said(serve_tls, foreign):
    server = serve_tls()
    assert_says(ask(server, "--tls"), "no authority that is trusted")
    assert_says(ask(server, "--tls-ca", foreign.path), "no authority that is trusted")
    assert_says(ask(server), "if it speaks TLS")


# Without waiting for --wait: it would not become better.
def test_a_server_without_tls_is_told_at_once(serve, cache, hub, authority):
    server = serve(cache, hub.endpoint)
    done = hubcache("--tls-ca", str(authority.path), "file", MODEL, FILE, server=server)
    assert_says(done, "does not speak TLS")


def test_client_certificates(serve_tls, authority, foreign, tmp_path):
    server = serve_tls("IP:127.0.0.1", "--tls-client-ca", str(authority.path))
    trusting = ["--tls-ca", authority.path]

    def shown(issuer):
        cert, key = issuer.issue("URI:spiffe://test/caller").put(tmp_path, "client")
        return ["--tls-cert", cert, "--tls-key", key]

    assert_answers(ask(server, *trusting, *shown(authority)))
    assert_says(ask(server, *trusting), "client certificates")
    assert_says(ask(server, *trusting, *shown(foreign)), "client certificates")


@pytest.mark.parametrize("option", ["--token", "--hub-token", "--bearer-token"])
def test_a_token_on_the_command_line_is_refused(option):
    done = hubcache("info", option, "very-secret")
    assert done.returncode == 2 and "HUBCACHE_TOKEN" in done.stderr, done
    assert "very-secret" not in done.stderr


@pytest.mark.parametrize("wrong", ["--tls-ca", "--tls-cert", "--tls-key"])
def test_files_that_are_not_there_are_named(wrong):
    done = hubcache("info", "--tls-cert", "/none.pem", "--tls-key", "/none.key", wrong,
                    "/nowhere.pem")
    assert done.returncode == 2 and ("/nowhere.pem" in done.stderr or wrong == "--tls-key"), done


# --- replicas behind one name --------------------------------------------------------------


def calls_of(server):
    address = re.search(r"http://127[0-9.:]+", server.log())[0]
    page = urllib.request.urlopen(f"{address}/metrics", timeout=TIMEOUT).read().decode()
    return sum(float(count) for count in
               re.findall(r'^hubcache_requests_total\{[^}]*\} (\S+)$', page, re.M))


def test_calls_go_to_all_replicas_of_a_name_but_dead_ones(serve, cache, hub):
    """The name has three addresses: two replicas, of which one is killed, and none at the third."""
    options = ["--http-listen", "127.0.0.1:0"]
    first = serve(cache, hub.endpoint, arguments=options)
    port = first.address.rsplit(":", 1)[1]
    second = serve(cache, hub.endpoint, arguments=[*options, "--allow-plaintext"],
                   listen=f"127.0.0.2:{port}")
    load = ProgramLoad(program("load-client"), f"dns:///replicas.test:{port}", MODEL, FILE,
                       environment={"GRPC_DNS_RESOLVER": "native",
                                    "LD_PRELOAD": str(BUILD / "tests/support/libmany_addresses.so")})
    wait_until(lambda: min(calls_of(first), calls_of(second)) > 20, "both replicas are called")
    second.kill()
    before = calls_of(first)
    wait_until(lambda: calls_of(first) > before + 100, "the other replica is called")
    calls, failed, why = load.finish()
    assert failed == 0, f"{failed} of {calls}: {why}"
