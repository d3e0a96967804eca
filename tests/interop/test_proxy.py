# SPDX-License-Identifier: Apache-2.0
"""Proxies by environment: http_proxy, https_proxy, all_proxy and no_proxy mean to hubcached what
they mean to other programs, a proxy that refuses is said to be one, and one that cannot reach the
Hub is an outage like others."""

import http.server
import pathlib
import threading
import urllib.error
import urllib.parse
import urllib.request

import pytest

from content import GIT_FILE, LFS_FILE, MODEL
from world import fails_with

NOW = {"max_staleness": {"seconds": 0}}


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect)
OF_ONE_HOP = ("connection", "proxy-connection", "transfer-encoding", "host")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def forward(self):
        """A request that names the whole URL, as one to a proxy does."""
        self.server.seen.append((self.command, self.path))
        if self.server.refuses:
            self.send_error(407)
            return
        headers = {name: value for name, value in self.headers.items()
                   if name.lower() not in OF_ONE_HOP}
        request = urllib.request.Request(self.path, headers=headers, method=self.command)
        try:
            answer = DIRECT.open(request)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            body = answer.read()
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in OF_ONE_HOP:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def refuse(self):
        self.server.seen.append((self.command, self.path))
        self.send_error(407 if self.server.refuses else 502)

    do_GET = do_HEAD = do_POST = forward
    do_CONNECT = refuse

    def log_message(self, *_):
        pass


class Proxy(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen = []
        self.refuses = False
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def hosts(self):
        return {"http://" + urllib.parse.urlsplit(url).netloc for _, url in self.seen}


@pytest.fixture
def proxy():
    with Proxy() as server:
        yield server
        server.shutdown()


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_bytes_are_fetched_through_the_proxy(variable, hub, proxy, serve, cache):
    server = serve(cache, hub.endpoint, environment={variable: proxy.url})

    file = server.file(MODEL, "model.safetensors")

    assert pathlib.Path(file.path).read_bytes() == LFS_FILE
    assert proxy.hosts() == {hub.endpoint, hub.cdn}
    assert len(proxy.seen) == len(hub.log()), "all of it"


@pytest.mark.parametrize("variable", ["no_proxy", "NO_PROXY"])
@pytest.mark.parametrize("hosts", ["127.0.0.1", "example.com,127.0.0.1", "*"])
def test_hosts_of_no_proxy_are_reached_directly(variable, hosts, hub, proxy, serve, cache):
    server = serve(cache, hub.endpoint, environment={"HTTP_PROXY": proxy.url, variable: hosts})

    file = server.file(MODEL, "model.safetensors")

    assert pathlib.Path(file.path).read_bytes() == LFS_FILE
    assert proxy.seen == []


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY"])
def test_a_hub_of_https_is_asked_through_a_tunnel(variable, proxy, serve, cache):
    proxy.refuses = True  # which is final, and reported at once
    server = serve(cache, "https://hub.example", environment={variable: proxy.url})

    with fails_with("HUB_UNREACHABLE"):
        server.file(MODEL, "config.json")

    assert set(proxy.seen) == {("CONNECT", "hub.example:443")}


@pytest.mark.parametrize("endpoint, environment", [
    (None, "http_proxy"), ("https://hub.example", "https_proxy")])
def test_a_proxy_that_refuses_is_named_and_nothing_stale_is_answered(endpoint, environment, hub,
                                                                     proxy, serve, cache):
    filler = serve(cache, hub.endpoint)
    assert pathlib.Path(filler.file(MODEL, "config.json").path).read_bytes() == GIT_FILE
    filler.stop()
    proxy.refuses = True
    server = serve(cache, endpoint or hub.endpoint, environment={environment: proxy.url})

    with fails_with("HUB_UNREACHABLE") as failure:
        server.ResolveFile(repo_id=MODEL, filename="config.json", options=NOW)

    assert "proxy" in failure.message and "407" in failure.message
    assert proxy.seen


def test_a_proxy_that_cannot_reach_the_hub_is_an_outage(hub, proxy, serve, cache):
    filler = serve(cache, hub.endpoint)
    filler.file(MODEL, "config.json")
    filler.stop()
    server = serve(cache, "https://hub.example", environment={"https_proxy": proxy.url})

    file = server.ResolveFile(repo_id=MODEL, filename="config.json", options=NOW).file

    assert file.stale and pathlib.Path(file.path).read_bytes() == GIT_FILE
    assert proxy.seen == [("CONNECT", "hub.example:443")]
