# SPDX-License-Identifier: Apache-2.0
"""tests/traps.md covers every trap, and every test that it names exists."""

import pathlib
import re

import pytest

TESTS = pathlib.Path(__file__).resolve().parent.parent
ROW = re.compile(r"^\| *(\d+) *\|([^|]*)\|([^|]*)\|$")
NAME = re.compile(r"`([\w./-]+)::(\w+)`")


def rows():
    lines = (TESTS / "traps.md").read_text().splitlines()
    return {int(match[1]): match[3].strip() for match in map(ROW.match, lines) if match}


def test_every_trap_has_its_row():
    assert sorted(rows()) == list(range(1, 63))


@pytest.mark.parametrize("number", range(1, 63))
def test_the_tests_that_a_row_names_exist(number):
    tests = NAME.findall(rows()[number])

    if not tests:
        assert re.match(r"cannot apply: \S.{10,}", rows()[number])
    for file, name in tests:
        text = (TESTS / file).read_text()
        assert re.search(rf"^(def|static void) {name}\(", text, re.MULTILINE), f"{file}::{name}"
