#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""operations_test.py SOURCE: docs/operations.md names every metric, reason, alert and log key that there
is, and no other; so do the manual (metrics) and the alerts.
"""
import pathlib
import re
import sys

METRIC = r"\b(?:hubcache|process)_[a-z_]+[a-z]\b"
PARTS = r"_(?:bucket|sum|count)$"  # of a histogram


def names_of(text, pattern):
    return set(re.findall(pattern, text))


def table_of(page, title):
    """The first cells of the table below a title."""
    section = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", page, re.M | re.S).group(1)
    return " ".join(re.findall(r"^\| (.*?) \|", section, re.M))


def metrics_of(root):
    """As the sources write them: a text that is a name alone."""
    sources = "".join(path.read_text() for path in sorted(root.glob("server/*.c"))
                      if path.name != "sandbox.c")  # has names of system calls
    return names_of(sources, rf'"({METRIC})"')


def compare(what, there, named, flaws):
    flaws += [f"{what}: nothing says what {name} is" for name in sorted(there - named)]
    flaws += [f"{what}: there is no {name}" for name in sorted(named - there)]


def main(source):
    root = pathlib.Path(source)
    page = (root / "docs/operations.md").read_text()
    manual = (root / "server/hubcached.8.scd").read_text()
    alerts = (root / "deploy/prometheus/alerts.yaml").read_text()
    metrics = metrics_of(root)
    flaws = []

    compare("metrics of docs/operations.md", metrics, names_of(table_of(page, "Metrics"), METRIC), flaws)
    listed = manual[manual.index("\n# METRICS"):manual.index("\n# SERVICES")]
    compare("METRICS of hubcached(8)", metrics, names_of(listed, rf"\*({METRIC})\*"), flaws)
    used = {re.sub(PARTS, "", name) for name in names_of(alerts, METRIC)}
    flaws += [f"alerts.yaml: there is no metric {name}" for name in sorted(used - metrics)]

    reasons = names_of((root / "lib/include/hubcache/error.h").read_text(), r"\bROW\(([A-Z_]+), [A-Z]")
    compare("reasons of docs/operations.md", reasons,
            names_of(table_of(page, "Reasons"), r"`([A-Z_]+)`"), flaws)
    compare("alerts of docs/operations.md", names_of(alerts, r"alert: (\w+)"),
            names_of(table_of(page, "Alerts"), r"`(\w+)`"), flaws)

    log = (root / "server/request_log.c").read_text()
    log = log[:log.index("/* ---- transfers")]
    keys = names_of(log, r'HC_(?:TEXT|NUMBER|MICROSECONDS)\("(\w+)"') | {"time", "level", "msg"}
    keys -= {"reason", "count"}  # of "more requests failed"
    compare("log keys of docs/operations.md", keys, names_of(table_of(page, "The log"), r"`(\w+)`"), flaws)

    print("\n".join(flaws))
    return 1 if flaws else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
