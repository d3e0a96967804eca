# SPDX-License-Identifier: Apache-2.0
"""Traps about a Hub that answers badly, late, or not at all; about tokens and redirects.
Numbers are those of tests/traps.md."""

import http.server
import pathlib
import socketserver
import threading
import time

import pytest

from content import BIG, BIG_FILES, EMPTY_BLOB, FILES, GIT_FILE, LFS_FILE, MODEL
from world import blobs_of, fails_with, incompletes, survey

NOW = {"max_staleness": {"seconds": 0}}


@pytest.fixture
def warm(hub, serve, cache):
    """A server whose cache has config.json already; the Hub's log is empty."""
    server = serve(cache, hub.endpoint)
    server.file(MODEL, "config.json")
    hub.clear_log()
    return server


def ask_now(server, filename="config.json", **fields):
    return server.ResolveFile(repo_id=MODEL, filename=filename, options=NOW, **fields).file


def test_12_a_404_without_a_code_is_a_hub_that_cannot_be_asked(hub, warm):
    hub.rule("status", number=404)

    file = ask_now(warm)

    assert file.stale and pathlib.Path(file.path).read_bytes() == GIT_FILE
    assert len(hub.log()) >= 1


@pytest.mark.parametrize("code, reason", [("EntryNotFound", "ENTRY_NOT_FOUND"),
                                          ("RevisionNotFound", "REVISION_NOT_FOUND")])
def test_13_not_found_never_falls_back(code, reason, hub, warm):
    hub.rule("status", number=404, error_code=code)

    with fails_with(reason):
        ask_now(warm)


@pytest.mark.parametrize("status, code", [
    (401, None), (403, None), (401, "RepoNotFound"), (404, "RepoNotFound"),
    (403, "GatedRepo"), (401, "GatedRepo"), (500, None), (502, None), (503, None), (504, None),
    (429, None), (400, None)])
def test_14_every_other_failure_falls_back(status, code, hub, warm):
    hub.rule("status", number=status, **({"error_code": code} if code else {}))

    file = ask_now(warm)

    assert file.stale and pathlib.Path(file.path).read_bytes() == GIT_FILE


def test_a_rewritten_branch_is_answered_as_the_client_answers_it(hub, serve, cache, tmp_path,
                                                                 newest):
    server = serve(cache, hub.endpoint)
    old = server.file(MODEL, "config.json").commit_hash
    new = hub.commit("models/" + MODEL, {"config.json": b"{}", "late.txt": b"late"})
    hub.rule("status", number=404, error_code="RevisionNotFound", contains=old)

    ours = server.file(MODEL, "late.txt")
    theirs = newest("hf_hub_download", repo_id=MODEL, filename="late.txt", endpoint=hub.endpoint,
                    environment={"HF_HUB_CACHE": str(tmp_path / "theirs")})

    assert ours.commit_hash == new and not ours.stale
    assert pathlib.Path(theirs).parent.name == new
    with fails_with("REVISION_NOT_FOUND"):
        server.file(MODEL, "late.txt", revision=old)


@pytest.mark.parametrize("status, code", [(401, None), (403, None), (403, "GatedRepo"),
                                          (404, "RepoNotFound")])
def test_a_refusal_of_the_callers_own_token_is_final(status, code, hub, warm):
    hub.rule("status", number=status, **({"error_code": code} if code else {}))

    with fails_with("HUB_UNAUTHORIZED", "GATED_REPO", "REPO_NOT_FOUND"):
        ask_now(warm, metadata=(("x-hub-token", "hf_own"),))
    assert ask_now(warm).stale


def test_15_an_anonymous_401_says_both_missing_and_private(hub, serve, cache):
    with fails_with("REPO_NOT_FOUND") as failure:
        serve(cache, hub.endpoint).file("org/none", "config.json")

    assert "org/none" in failure.message
    assert "private" in failure.message and "token" in failure.message


@pytest.mark.parametrize("fault", ["close", "reset"])
def test_16_a_peer_that_closes_counts_as_unreachable(fault, hub, warm):
    hub.rule(fault)

    file = ask_now(warm)

    assert file.stale and pathlib.Path(file.path).read_bytes() == GIT_FILE


def test_17_an_uncached_file_is_asked_for_again_before_giving_up(hub, serve, cache):
    hub.rule("status", number=503)

    with fails_with("HUB_UNREACHABLE") as failure:
        serve(cache, hub.endpoint).file(MODEL, "config.json")

    assert len(hub.log()) > 1
    assert "503" in failure.message


def test_17_a_hub_that_recovers_is_no_failure(hub, serve, cache):
    hub.rule("status", number=503, times=2)

    file = serve(cache, hub.endpoint).file(MODEL, "config.json")

    assert pathlib.Path(file.path).read_bytes() == GIT_FILE


def test_18_retry_after_is_waited_for(hub, serve, cache):
    hub.rule("status", number=429, retry_after_s=1, times=1)
    started = time.monotonic()

    serve(cache, hub.endpoint).file(MODEL, "config.json")

    assert time.monotonic() - started >= 1


@pytest.mark.parametrize("status", [408, 429, 500, 503, 403, 404])
def test_19_one_refusal_of_a_get_is_not_the_end(status, hub, serve, cache):
    # 403 and 404 too: a signed address expires, and /resolve gives out a new one.
    hub.rule("status", on_cdn=True, method="GET", number=status, times=1)

    file = serve(cache, hub.endpoint).file(MODEL, "model.safetensors")

    assert pathlib.Path(file.path).read_bytes() == LFS_FILE


@pytest.mark.parametrize("status", [403, 404, 416])
def test_19_lasting_refusals_are_not_retried_for_ever(status, hub, serve, cache):
    hub.rule("status", on_cdn=True, method="GET", number=status)

    with fails_with("BAD_HUB_REPLY", "HUB_UNAUTHORIZED", "ENTRY_NOT_FOUND", "REPO_NOT_FOUND",
                    "HUB_UNREACHABLE", "GATED_REPO"):
        serve(cache, hub.endpoint).file(MODEL, "model.safetensors")

    assert len(hub.gets()) <= 8
    assert incompletes(cache) == []


def test_20_a_cut_body_is_resumed_where_it_ended(hub, serve, cache):
    hub.rule("cut", on_cdn=True, method="GET", number=5 << 20, times=1)

    file = serve(cache, hub.endpoint).file(BIG, "first.safetensors")

    assert pathlib.Path(file.path).read_bytes() == BIG_FILES["first.safetensors"]
    first, second = hub.gets()
    assert first.range == "-" and second.range.startswith("bytes=")
    assert second.bytes < len(BIG_FILES["first.safetensors"])


def test_20_a_range_that_is_ignored_starts_over(hub, serve, cache):
    hub.rule("cut", on_cdn=True, method="GET", number=5 << 20, times=1)
    hub.rule("no_range", on_cdn=True)

    file = serve(cache, hub.endpoint).file(BIG, "first.safetensors")

    assert pathlib.Path(file.path).read_bytes() == BIG_FILES["first.safetensors"]


def test_21_a_reset_in_the_middle_is_resumed(hub, serve, cache):
    hub.rule("cut_reset", on_cdn=True, method="GET", number=5 << 20, times=1)

    file = serve(cache, hub.endpoint).file(BIG, "first.safetensors")

    assert pathlib.Path(file.path).read_bytes() == BIG_FILES["first.safetensors"]


def test_22_a_wrong_length_is_an_error_and_leaves_nothing(hub, serve, cache):
    hub.rule("short", on_cdn=True, method="GET", number=100)

    with fails_with("BAD_HUB_REPLY"):
        serve(cache, hub.endpoint).file(MODEL, "model.safetensors")

    assert blobs_of(cache) == {}
    assert list(cache.glob("*/refs/*")) == [], "the ref comes after the bytes"


def test_23_bytes_that_do_not_hash_to_their_name_are_never_visible(hub, serve, cache):
    hub.rule("corrupt", on_cdn=True, method="GET", number=1000)

    with fails_with("CHECKSUM_MISMATCH"):
        serve(cache, hub.endpoint).file(MODEL, "model.safetensors")

    assert blobs_of(cache) == {}
    assert list(cache.glob("*/snapshots/*/*")) == []


def test_23_the_same_for_a_git_file(hub, serve, cache):
    hub.rule("corrupt", method="GET", contains="README.md", number=3)

    with fails_with("CHECKSUM_MISMATCH"):
        serve(cache, hub.endpoint).file(MODEL, "README.md")

    assert blobs_of(cache) == {}


def test_23_the_transfer_after_a_bad_one_succeeds(hub, serve, cache):
    hub.rule("corrupt", on_cdn=True, method="GET", number=1000, times=1)

    file = serve(cache, hub.endpoint).file(MODEL, "model.safetensors")

    assert pathlib.Path(file.path).read_bytes() == LFS_FILE


def test_25_an_empty_file_is_never_fetched(hub, serve, cache):
    file = serve(cache, hub.endpoint).file(MODEL, "empty.txt")

    assert file.etag == EMPTY_BLOB
    assert (cache / file.cache_path).read_bytes() == b""
    assert hub.gets() == [] and hub.gets("hub") == []


class Front(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """A proxy before the hub that records the headers of requests."""

    daemon_threads = True

    def __init__(self):
        self.seen = []
        super().__init__(("127.0.0.1", 0), self.make_handler())
        self.endpoint = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def make_handler(front):
        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                front.seen.append((self.command, dict(self.headers)))
                self.send_response(503)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def refuse(self):
                front.seen.append((self.command, dict(self.headers)))
                self.send_error(407)

            do_GET = do_HEAD = answer
            do_CONNECT = refuse

            def log_message(self, *_):
                pass

        return Handler


@pytest.fixture
def front():
    with Front() as server:
        yield server
        server.shutdown()


def test_26_no_encoding_is_accepted_that_would_change_the_length(front, serve, cache):
    with fails_with("HUB_UNREACHABLE"):
        serve(cache, front.endpoint).file(MODEL, "config.json")

    accepted = {headers.get("Accept-Encoding", "identity") for _, headers in front.seen}
    assert accepted == {"identity"}


def test_27_the_token_goes_to_the_hub_and_never_to_the_cdn(hub, serve, cache):
    server = serve(cache, hub.endpoint, environment={"HF_TOKEN": "hf_secret"})
    server.file(MODEL, "model.safetensors")
    server.ResolveSnapshot(repo_id=MODEL)

    log = hub.log()
    assert all(request.has_token == (request.port == "hub") for request in log), log
    assert any(request.port == "cdn" for request in log)
    assert "hf_secret" not in server.log()
    assert not any("hf_secret" in node.content for node in survey(cache).values())


def test_28_a_xet_file_is_fetched_over_plain_http(hub, serve, cache):
    headers, _ = hub.get(f"/{MODEL}/resolve/main/config.json")
    file = serve(cache, hub.endpoint).file(MODEL, "nested/weights.bin")

    assert pathlib.Path(file.path).read_bytes() == FILES["nested/weights.bin"]
    assert not (cache / "blobs").exists(), "the shared store is the Hub's own clients'"


def test_29_a_relative_redirect_keeps_its_query(hub, serve, cache):
    serve(cache, hub.endpoint).file(MODEL, "config.json")

    (first, *_) = [request for request in hub.log() if "/api/resolve-cache/" in request.target]
    assert "?" in first.target


def test_29_a_redirect_loop_ends(hub, serve, cache):
    hub.rule("redirect_loop", contains="config.json")

    with fails_with("BAD_HUB_REPLY") as failure:
        serve(cache, hub.endpoint).file(MODEL, "config.json")

    assert "redirect" in failure.message
    assert len(hub.log()) <= 50


def test_61_a_dead_proxy_falls_back(hub, serve, cache):
    filler = serve(cache, hub.endpoint)
    filler.file(MODEL, "config.json")
    filler.stop()

    server = serve(cache, "http://hub.example", environment={
        "http_proxy": "http://127.0.0.1:9", "no_grpc_proxy": "*"})

    assert ask_now(server).stale


def test_61_a_proxy_that_refuses_is_named(front, serve, cache):
    server = serve(cache, "https://hub.example", environment={"https_proxy": front.endpoint})

    with fails_with("HUB_UNREACHABLE") as failure:
        ask_now(server)

    assert "407" in failure.message
    assert front.seen[0][0] == "CONNECT"


@pytest.mark.parametrize("environment", [{"HF_TOKEN": " hf_good\n"}, {"HF_TOKEN": ""}, {}])
def test_62_a_token_is_trimmed_and_an_empty_one_leaves_it_to_the_file(environment, repos, serve,
                                                                      cache, tmp_path):
    from world import Hub

    token_file = tmp_path / "token"
    token_file.write_text("hf_good\n" if not environment.get("HF_TOKEN") else "hf_bad\n")
    with Hub(repos, "--token", "hf_good") as hub:
        hub.control("access", b"", repo=f"models/{MODEL}", access="private")
        server = serve(cache, hub.endpoint,
                       environment=environment | {"HF_TOKEN_PATH": str(token_file)})

        assert server.file(MODEL, "config.json").size_bytes == len(GIT_FILE)
