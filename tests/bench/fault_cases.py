# SPDX-License-Identifier: Apache-2.0
"""The faults of downloads, as rules of the test hub. A case draws the offsets at which it acts
anew for each run, and returns how often it acts."""

import dataclasses
from typing import Callable

EARLY = 4 << 20  # every answer is longer: a fault acts within these bytes of a body


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    inject: Callable  # (hub, draw) -> how often, in words
    expected: str = "right"
    environment: dict = dataclasses.field(default_factory=dict)


def answers(count):
    return "1 answer" if count == 1 else f"{count} answers"


def storage_rules(fault, count=3):
    """The first answers of the storage fail, each at another byte."""

    def inject(hub, draw):
        for _ in range(count):
            hub.rule(fault, on_cdn=True, times=1, number=draw.randrange(1, EARLY))
        return answers(count)

    return inject


def failing_after_a_cut(count=2, **status):
    """The connection breaks during the body, and the next answers are refusals."""

    def inject(hub, draw):
        hub.rule("cut", on_cdn=True, times=1, number=draw.randrange(1, EARLY))
        hub.rule("status", on_cdn=True, times=count, **status)
        return f"1 cut, then {answers(count)}"

    return inject


def limited(hub, _):
    hub.rule("status", method="HEAD", contains="/resolve/", times=1, number=429, retry_after_s=1)
    hub.rule("status", on_cdn=True, times=1, number=429, retry_after_s=1)
    return "1 of the hub, 1 of the storage"


def without_ranges(hub, draw):
    """Ranges are ignored too, so that a broken body cannot be resumed."""
    hub.rule("cut", on_cdn=True, times=1, number=draw.randrange(1, EARLY))
    hub.rule("no_range", on_cdn=True)
    return "1 cut, then all answers"


def wrong_always(hub, draw):
    hub.rule("corrupt", on_cdn=True, number=draw.randrange(EARLY))
    return "all answers"


def server_errors(hub, draw):
    hub.rule("status", method=draw.choice(["HEAD", "GET"]), times=2, number=503)
    hub.rule("status", on_cdn=True, times=2, number=draw.choice([500, 502, 503, 504]))
    return "2 of the hub, 2 of the storage"


def refused_always(hub, draw):
    hub.rule("status", on_cdn=True, number=draw.choice([500, 502, 503, 504]))
    return "all answers"


def stalled(hub, draw):
    hub.rule("stall", on_cdn=True, method="GET", times=1, number=draw.randrange(1, EARLY))
    return "1 answer"


IMPATIENT = {"HF_HUB_DOWNLOAD_TIMEOUT": "1"}

CASES = [
    Case("connection closed (FIN) in mid-body", storage_rules("cut")),
    Case("connection reset (RST) in mid-body", storage_rules("cut_reset")),
    Case("connection closed before an answer", storage_rules("close")),
    Case("connection reset before an answer", storage_rules("reset")),
    Case("silence in mid-body", stalled, environment=IMPATIENT),
    Case("body shorter than the file", storage_rules("short", count=2)),
    Case("5xx before the first byte", server_errors),
    Case("5xx in mid-flight", failing_after_a_cut(number=503)),
    Case("5xx always", refused_always, expected="HUB_UNREACHABLE"),
    Case("429 with Retry-After: 1", limited),
    Case("signed URL expires in mid-flight", failing_after_a_cut(count=1, number=403)),
    Case("Range ignored", without_ranges),
    Case("wrong byte, once", storage_rules("corrupt", count=1)),
    Case("wrong byte, always", wrong_always, expected="CHECKSUM_MISMATCH"),
]
