# SPDX-License-Identifier: Apache-2.0
"""The status page of hubcached over HTTP, and in headless Chromium, with scripts and without:
what it tells of an idle, a busy and a failing server. Screenshots go to build/screenshots."""

import base64
import contextlib
import hashlib
import json
import re
import signal
import socket
import urllib.error
import urllib.parse
import urllib.request

import grpc
import pytest

import browser
import world

SHOTS = world.ROOT / "build" / "screenshots"
TOKEN = "token-of-alice"
HOSTILE = '<img src=x onerror=alert(1)>"\'&'
STRICT = ("default-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'")


@pytest.fixture
def served(serve, cache, hub):
    """(server, base URL)."""
    return serve_page(serve, cache, hub.endpoint)


@pytest.fixture
def guarded(serve, cache, hub, tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text(f"alice sha256:{hashlib.sha256(TOKEN.encode()).hexdigest()}\n")
    return serve_page(serve, cache, hub.endpoint, "--auth-tokens", str(tokens),
                      "--auth-required")


def serve_page(serve, cache, endpoint, *arguments):
    server = serve(cache, endpoint, arguments=["--http-listen", "127.0.0.1:0", *arguments])
    line = server.process.stdout.readline()
    assert line.startswith("listening http://")
    return server, line.split()[1]


def get(url, method="GET", **headers):
    """(status, headers, body)."""
    request = urllib.request.Request(url, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=world.TIMEOUT) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def basic(token, user="browser"):
    return "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()


def facts(base):
    return json.loads(get(base + "/status.json")[2])


# --- over HTTP ----------------------------------------------------------------------------


def test_the_page_allows_only_what_it_has_of_its_own(served):
    _, base = served
    status, headers, page = get(base + "/")
    policy = headers["Content-Security-Policy"]

    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
    assert all(rule in policy.split("; ") for rule in STRICT) and "unsafe" not in policy
    for element, directive in ("style", "style-src"), ("script", "script-src"):
        (text,) = re.findall(f"<{element}>(.*?)</{element}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert not re.search(r'\son\w+=|style="|https?://(?!127\.0\.0\.1|www\.w3\.org)', page)


@pytest.mark.parametrize("path", ["/", "/status.json", "/metrics", "/healthz", "/none"])
def test_no_page_is_kept_guessed_or_embedded(served, path):
    _, headers, _ = get(served[1] + path)
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def test_there_are_only_get_and_head(served):
    _, base = served
    for method in "POST", "PUT", "DELETE", "OPTIONS":
        status, headers, _ = get(base + "/", method)
        assert (status, headers["Allow"]) == (405, "GET, HEAD")
    status, headers, body = get(base + "/", "HEAD")
    assert (status, body) == (200, "") and int(headers["Content-Length"]) > 10000
    assert get(base + "/status.jso")[0] == 404


def test_the_page_asks_for_a_token_and_the_probes_do_not(guarded):
    _, base = guarded
    for path in "/", "/status.json":
        status, headers, body = get(base + path)
        assert status == 401 and "org/" not in body
        assert headers.get_all("WWW-Authenticate") == [
            'Basic realm="hubcache", charset="UTF-8"', 'Bearer realm="hubcache"']
        assert get(base + path, Authorization=f"Bearer {TOKEN}")[0] == 200
        assert get(base + path, Authorization=basic(TOKEN))[0] == 200
    assert get(base + "/healthz")[0] == get(base + "/metrics")[0] == 200


def test_lists_have_what_the_policy_lets_the_reader_see(serve, cache, hub, tmp_path):
    """Repos of the cache, failures, and kept revisions; administrators see all."""
    hashes = {name: hashlib.sha256(f"token-of-{name}".encode()).hexdigest()
              for name in ("alice", "bob")}
    tokens = tmp_path / "tokens"
    tokens.write_text("".join(f"{name} sha256:{hashes[name]}\n" for name in hashes))
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\ndefault: deny\n"
                      "keep:\n- {repo: secret/kept}\n- {repo: org/kept}\nrules:\n"
                      "- {name: ops, callers: [alice], action: admin}\n"
                      "- {name: open, repos: ['org/*'], action: allow}\n")
    for folder in "models--org--model", "models--secret--model":
        snapshot = cache / folder / "snapshots" / ("1" * 40)
        snapshot.mkdir(parents=True)
        (snapshot / "a.txt").write_text("a")
    server, base = serve_page(serve, cache, hub.endpoint, "--auth-tokens", str(tokens),
                              "--policy", str(policy))
    with world.fails_with("ENTRY_NOT_FOUND"):
        server.file("org/model", "missing.bin")
    with world.fails_with("POLICY_DENIED"):
        server.file("secret/model", "missing.bin")
    world.wait_until(lambda: facts(base)["cache"], "a scan")

    for headers in {}, {"Authorization": "Bearer token-of-bob"}:
        page, text = (get(base + path, **headers)[2] for path in ("/", "/status.json"))
        told = json.loads(text)
        assert "secret/" not in page and "secret/" not in text and told["limited"]
        assert [repo["repo"] for repo in told["cache"]["repos"]] == ["org/model"]
        assert [failure["repo"] for failure in told["failures"]] == ["org/model"]
        assert [kept["repo"] for kept in told["kept"]["revisions"]] == ["org/kept"]
    for authorization in "Bearer token-of-alice", basic("token-of-alice"):
        page, text = (get(base + path, Authorization=authorization)[2]
                      for path in ("/", "/status.json"))
        told = json.loads(text)
        assert "secret/model" in page and "secret/kept" in page and not told["limited"]
        assert {repo["repo"] for repo in told["cache"]["repos"]} == {"org/model", "secret/model"}


def test_many_wrong_tokens_are_not_listened_to_and_are_not_logged(guarded):
    server, base = guarded
    for i in range(10):
        assert get(base + "/", Authorization=basic(f"guess-{i}"))[0] == 401
    status, headers, _ = get(base + "/", Authorization=basic(TOKEN))
    assert (status, headers["Retry-After"]) == (429, "60")
    assert get(base + "/healthz")[0] == 200
    server.stop()
    assert server.log().count("page refused") == 10
    assert "guess-" not in server.log() and TOKEN not in server.log()


def test_a_request_that_is_no_request_harms_no_other(served):
    _, base = served
    port = urllib.parse.urlparse(base).port
    for bytes_ in b"GET /\0 HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET " + b"/" * 70000:
        with (socket.create_connection(("127.0.0.1", port), world.TIMEOUT) as connection,
              contextlib.suppress(OSError)):  # it may be closed at any byte
            connection.sendall(bytes_)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
    assert get(base + "/")[0] == 200


def test_the_facts_are_those_of_the_server(served, hub):
    server, base = served
    server.file("org/model", "config.json")
    server.file("org/model", "config.json")
    with world.fails_with("ENTRY_NOT_FOUND"):
        server.file("org/model", HOSTILE)
    told = facts(base)

    assert told["server"]["cache_root"] == str(server.cache)
    assert told["server"]["endpoint"] == hub.endpoint
    assert told["server"]["listeners"] == [server.address, base]
    assert (told["server"]["offline"], told["server"]["state"]) == (False, "serving")
    assert told["options"]["queue"] == "4096"
    assert told["totals"]["hits"] == 1 and told["totals"]["misses"] == 1 and told["totals"]["failures"] == 1
    assert told["totals"]["fetched_bytes"] == len(b'{"answer": 42}\n')
    (failure,) = told["failures"]
    assert (failure["reason"], failure["repo"], failure["count"]) == (
        "ENTRY_NOT_FOUND", "org/model", 1)
    assert HOSTILE in failure["message"]
    page = get(base + "/")[2]
    assert "<img" not in page and "&lt;img src=x onerror=alert(1)&gt;" in page


def test_a_reload_shows_whether_anything_was_wrong(guarded, tmp_path):
    server, base = guarded
    bearer = {"Authorization": f"Bearer {TOKEN}"}

    def reload():
        return json.loads(get(base + "/status.json", **bearer)[2])["server"]["reload"]

    assert reload() is None
    (tmp_path / "tokens").write_text("alice sha256:short\n")
    server.process.send_signal(signal.SIGHUP)
    world.wait_until(reload, "a reload")
    assert (reload()["failed"], reload()["has_failed"]) == (1, True)
    assert "tokens" in reload()["message"]
    assert "Reload failed" in get(base + "/", **bearer)[2]


def test_the_cache_is_scanned_at_the_start(serve, cache, hub):
    first = serve(cache, hub.endpoint)
    first.ResolveSnapshot(repo_id="org/big")
    first.file("org/model", "config.json")
    first.stop()
    _, base = serve_page(serve, cache, hub.endpoint)
    world.wait_until(lambda: facts(base)["cache"], "a scan of the cache")
    told = facts(base)["cache"]

    assert [repo["repo"] for repo in told["repos"]] == ["org/big", "org/model"]
    assert told["bytes"] == sum(repo["bytes"] for repo in told["repos"])
    assert told["bytes"] == sum(path.stat().st_size for path in cache.glob("*/blobs/*"))
    assert f"\nhubcache_cache_bytes {told['bytes']}\n" in get(base + "/metrics")[2]
    assert told["repo_count"] == 2 and told["repos"][1]["last_used"]


# --- in a browser -------------------------------------------------------------------------

needs_browser = pytest.mark.skipif(not browser.is_installed(),
                                   reason="there is no chromium with its driver")


@pytest.fixture(scope="module")
def chromium():
    with browser.Browser() as started:
        yield started


@pytest.fixture
def page(chromium):
    """The browser, which must have had nothing to complain of at the end of the test."""
    chromium.show()
    chromium.allow_scripts(True)
    chromium.requests(), chromium.complaints()
    yield chromium
    assert chromium.complaints() == []
    chromium.open("about:blank")


def shoot(page, base, name, *texts):
    """Opens the page wide and narrow, light and dark; it has the texts and fits the width."""
    for width in 1400, 360:
        for scheme in "light", "dark":
            page.show(width=width, scheme=scheme)
            page.open(base + "/")
            page.screenshot(SHOTS / f"{name}-{width}-{scheme}.png")
            assert page.run("return document.documentElement.scrollWidth") <= width
            assert page.run("return [...document.querySelectorAll('.panel')].every("
                            "panel => panel.scrollWidth <= panel.clientWidth)")
            for text in texts:
                assert text in page.text()


def make_busy(server, hub):
    """Three files that arrive slowly; returns the call that waits for them."""
    for number in range(3):
        hub.control("add-made-up", b"", path=f"model-{number}.safetensors", seed=number + 1,
                    size=5_000_000, lfs=1)
    hub.control("commit", b"", repo="models/org/slow", revision="main")
    hub.rule("throttle", number=200_000, on_cdn=True)
    call = server.start("ResolveSnapshot", repo_id="org/slow")
    return call


def transfers(base):
    return facts(base)["transfers"]


@needs_browser
def test_an_idle_server(page, served):
    shoot(page, served[1], "idle", "serving", "No file is being fetched.",
          "No call has failed since the start.")
    assert set(page.requests()) == {served[1] + "/"}


@needs_browser
def test_a_busy_server_refreshes_itself(page, served, hub):
    server, base = served
    call = make_busy(server, hub)
    world.wait_until(lambda: len(transfers(base)) == 3 and all(
        transfer["bytes_done"] for transfer in transfers(base)), "bytes of three files")
    shoot(page, base, "busy", "org/slow", "model-2.safetensors", "of 5.00 MB")

    page.show(width=1400)
    page.open(base + "/")
    page.run("window.same = true; scrollTo(0, 150); "
             "document.querySelector('details').open = true")
    before = page.run("return document.querySelector('progress').value")
    world.wait_until(lambda: page.run("return document.querySelector('progress').value")
                     > before, "the page to refresh itself")
    assert page.run("return window.same && document.querySelector('details').open")
    assert page.run("return scrollY") == 150
    assert page.text("#news") == "refreshed every 5 s"
    assert {urllib.parse.urlparse(url).netloc for url in page.requests()} == {
        urllib.parse.urlparse(base).netloc}
    call.cancel()


@needs_browser
def test_without_scripts_the_page_is_whole_and_reloads(page, served, hub):
    server, base = served
    call = make_busy(server, hub)
    world.wait_until(lambda: len(transfers(base)) == 3, "three files")
    page.allow_scripts(False)
    page.open(base + "/")
    page.screenshot(SHOTS / "busy-without-scripts.png")

    assert "model-2.safetensors" in page.text()
    assert page.text("#news") == "reloaded every 10 s"
    assert page.run("return document.querySelectorAll('figure svg').length") == 6
    assert "http-equiv=\"refresh\"" in page.run("return document.head.innerHTML")
    assert page.run("return getComputedStyle(document.querySelector('#pause')).display") == "none"
    call.cancel()


@needs_browser
def test_a_failing_server_lists_its_failures(page, served, hub):
    server, base = served
    with world.fails_with("ENTRY_NOT_FOUND"):
        server.file("org/model", HOSTILE)
    with world.fails_with("INVALID_REPO_ID"):
        server.file("<b>bold</b>", "x")
    hub.stop()
    with pytest.raises(grpc.RpcError):
        server.ResolveFile(repo_id="org/other", filename="weights.bin", timeout=2)
    shoot(page, base, "failing", "ENTRY_NOT_FOUND", HOSTILE, "<b>bold</b>", "org/other")
    assert page.run("return document.querySelectorAll('main img, main b.bold').length") == 0


@needs_browser
def test_a_page_whose_server_is_gone_says_so(page, served):
    server, base = served
    page.open(base + "/")
    server.stop()
    world.wait_until(lambda: "No answer" in page.text("#news"), "the page to notice")
    assert page.run("return document.documentElement.classList.contains('late')")
    assert "serving" in page.text()
    assert all("ERR_CONNECTION_REFUSED" in complaint for complaint in page.complaints())


@needs_browser
def test_a_browser_logs_in_and_pauses(page, guarded):
    _, base = guarded
    page.open(base.replace("http://", f"http://browser:{TOKEN}@") + "/")
    assert "serving" in page.text()
    page.run("document.querySelector('#pause').click()")
    assert (page.text("#news"), page.text("#pause")) == ("paused", "Resume")
    page.requests()
    page.run("document.querySelector('#pause').click()")
    world.wait_until(lambda: base + "/" in page.requests(), "a refresh")
    assert page.text("#news") == "refreshed every 5 s"
