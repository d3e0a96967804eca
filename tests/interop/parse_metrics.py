#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads a page of metrics with Prometheus' own parser, and compares it with the rules for names that
`promtool check metrics` has. Prints the samples as JSON, or fails."""

import json
import re
import sys

from prometheus_client.parser import text_string_to_metric_families

ABBREVIATIONS = re.compile(r"_(ms|us|ns|sec|secs|msec|kb|mb|gb|milliseconds|minutes|hours|percent)(_|$)")


def flaws_of(family):
    name, kind = family.name, family.type
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        yield "is no name"
    if not family.documentation:
        yield "has no help"
    if kind not in ("counter", "gauge", "histogram"):
        yield f"has the type {kind}"
    if kind == "gauge" and name.endswith(("_total", "_count", "_sum", "_bucket")):
        yield "has a suffix that its type has not"
    if ABBREVIATIONS.search(name):
        yield "has no base unit"
    if kind == "counter" and any(not sample.name.endswith("_total") for sample in family.samples):
        yield "does not end in _total"
    if kind in name:
        yield "has its type in its name"


def main():
    text = sys.stdin.read()
    families = list(text_string_to_metric_families(text))
    flaws = [f"{family.name} {flaw}" for family in families for flaw in flaws_of(family)]
    names = [family.name for family in families]
    flaws += [f"{name} comes twice" for name in set(names) if names.count(name) > 1]
    samples = [(sample.name, sorted(sample.labels.items())) for family in families
               for sample in family.samples]
    flaws += [f"{sample} comes twice" for sample in samples if samples.count(sample) > 1]
    assert not flaws, "\n".join(flaws)
    json.dump({family.name: [[sample.name, sample.labels, sample.value] for sample in family.samples]
               for family in families}, sys.stdout)


if __name__ == "__main__":
    main()
