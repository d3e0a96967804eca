#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures the shape of C code: what its functions are called, how long files and functions are.

    tests/bench/code_shape.py [--by-folder] [--names] [PATH...]

A PATH is a file or a directory; by default lib, server and client. Each figure is counted in .c and
.h files together unless it says otherwise:
  functions   definitions, static inline ones of .h included; prototypes are not. A macro that only
              defines a function (HC_DEFINE_AUTO) counts nothing.
  one word    the name without its hc_ prefix is one word: `look`, `hc_open`; main() apart.
  shared      the name is defined in more than one file of those measured, entry points apart; each
              such definition counts.
  lines       of a function: from the line of its name to the closing brace. Of a file: all lines,
              blank ones and comments too.
  structs     definitions with a tag and a body (unions too), over 1,000 lines of .c (headers add
              types, not code).
  comments    lines that hold a part of a comment, over all lines of the file type.
  persons     comment lines with who, whoever, somebody, nobody, anybody, anyone, someone: plain
              English names the actor.

The aims for the code were set beside figures of lib, server and client without tests, counted like
this: 17.7 % one word, 16 % shared, 8.7 structs, 175 persons.
"""
import argparse
import os
import re
import statistics
import sys

TOKEN = re.compile(r"""(?P<comment>/\*.*?\*/|//(?:\\\n|[^\n])*)
    |(?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
    |(?P<directive>(?:(?<=\n)|^)[ \t]*\#(?:\\\n|/\*.*?\*/|[^\n])*)
    |(?P<word>[A-Za-z_]\w*)|(?P<space>\s+)|(?P<other>.)""", re.S | re.X)
PERSON = re.compile(r"\b(?:who|whoever|somebody|nobody|anybody|anyone|someone)\b", re.I)
ENTRIES = {"main", "LLVMFuzzerTestOneInput"}
QUALIFIERS = {"__attribute__", "__extension__", "_Alignas", "__typeof__"}


class File:
    """One source file: its functions [(name, first line, last line)] and counts."""

    def __init__(self, path):
        self.path = path
        with open(path, encoding="utf-8", errors="replace") as source:
            self.text = source.read()
        self.lines = self.text.count("\n") + (not self.text.endswith("\n") and bool(self.text))
        self.functions, self.structs, self.comments, self.persons = [], 0, 0, 0
        self.scan()

    def scan(self):
        line, depth, significant, opened = 1, 0, [], None
        commented = set()
        for match in TOKEN.finditer(self.text):
            kind, text = match.lastgroup, match.group()
            if kind == "comment":
                parts = text.split("\n")
                commented.update(range(line, line + len(parts)))
                self.persons += sum(1 for part in parts if PERSON.search(part))
            elif kind == "directive":
                inner = re.search(r"/\*.*?\*/|//.*", text, re.S)
                if inner and inner.group().startswith("/*"):
                    commented.add(line)
            elif kind != "space" and not (text == "{" and is_extern_c(significant)):
                if text == "{":
                    self.structs += is_struct(significant)
                    opened = function_name(significant) if depth == 0 else opened
                    depth += 1
                elif text == "}":
                    depth = max(0, depth - 1)
                significant.append((text, line))
                if depth == 0 and text == "}" and opened:
                    self.functions.append((opened[0], opened[1], line))
                if depth == 0 and (text == ";" or (text == "}" and opened)):
                    significant, opened = [], None
            line += text.count("\n")
        self.comments = len(commented)


def is_extern_c(tokens):
    return [text for text, _ in tokens[-2:]] == ["extern", '"C"']


def is_struct(tokens):
    """Whether a `{` after these tokens begins a struct or union with a tag."""
    if not tokens or not re.fullmatch(r"[A-Za-z_]\w*", tokens[-1][0]) or len(tokens) < 2:
        return 0
    return int(tokens[-2][0] in ("struct", "union"))


def function_name(tokens):
    """The name, and its line, of the function whose body the next `{` begins, or None."""
    level = 0  # of parentheses, from the last `)` back to the `(` that it closes
    if not tokens or tokens[-1][0] != ")" or any(text == "=" for text, _ in tokens):
        return None
    for i in range(len(tokens) - 1, 0, -1):
        text, before = tokens[i][0], tokens[i - 1][0]
        level += (text == ")") - (text == "(")
        is_name = re.fullmatch(r"[A-Za-z_]\w*", before) and before not in QUALIFIERS
        if text == "(" and level == 0 and is_name:
            return tokens[i - 1]
        if text in ("}", "{") and level == 0:
            return None
    return None


def words(name):
    return len(re.findall(r"[A-Z]*[a-z0-9]+", name.removeprefix("hc_")))


def is_one_word(name):
    return name not in ENTRIES and words(name) == 1


def is_shared(name, owners):
    return name not in ENTRIES and len(owners[name]) > 1


def sources(paths):
    for path in paths:
        if os.path.isfile(path):
            yield path
            continue
        for folder, folders, files in os.walk(path):
            folders[:] = sorted(f for f in folders if f[0] != "." and f not in ("build", "corpus"))
            yield from (os.path.join(folder, f) for f in sorted(files) if f.endswith((".c", ".h")))


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))] if values else 0


def share(part, whole):
    return f"{100 * part / whole:.1f}" if whole else "-"


def figures(files, owners):
    functions = [(f, name, last - first + 1) for f in files for name, first, last in f.functions]
    c, h = ([f for f in files if f.path.endswith(e)] for e in (".c", ".h"))
    c_lines, lengths = sum(f.lines for f in c), [n for _, _, n in functions]
    return {
        "functions": len(functions),
        "one word %": share(sum(is_one_word(name) for _, name, _ in functions), len(functions)),
        "shared %": share(sum(is_shared(name, owners) for _, name, _ in functions), len(functions)),
        "fn median": int(statistics.median(lengths)) if lengths else 0,
        "fn p95": percentile(lengths, 0.95),
        "fn longest": max(lengths, default=0),
        "file median": int(statistics.median([f.lines for f in files])) if files else 0,
        ".c files": len(c),
        ".c lines": c_lines,
        ".c median": int(statistics.median([f.lines for f in c])) if c else 0,
        "structs": sum(f.structs for f in files),
        "structs/1000": f"{1000 * sum(f.structs for f in files) / c_lines:.1f}" if c_lines else "-",
        ".c comment %": share(sum(f.comments for f in c), c_lines),
        ".h comment %": share(sum(f.comments for f in h), sum(f.lines for f in h)),
        "persons": sum(f.persons for f in files),
    }


def print_table(rows):
    heads = ["", *next(iter(rows.values()))]
    table = [heads] + [[name, *map(str, row.values())] for name, row in rows.items()]
    widths = [max(len(line[i]) for line in table) for i in range(len(heads))]
    for line in table:
        print(line[0].ljust(widths[0]),
              *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:])), sep="  ")


def print_names(files, owners):
    print("\none word:")
    for name in sorted(owners):
        if is_one_word(name):
            print(f"  {name:24} {' '.join(owners[name])}")
    print("\nshared:")
    for name in sorted(owners):
        if is_shared(name, owners):
            print(f"  {name:40} {' '.join(owners[name])}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--by-folder", action="store_true", help="a row per folder")
    parser.add_argument("--names", action="store_true",
                        help="list the one-word and the shared names with their files")
    parser.add_argument("paths", nargs="*", default=["lib", "server", "client"])
    args = parser.parse_args()
    files = [File(path) for path in sources(args.paths)]
    owners = {}
    for f in files:
        for name in {name for name, _, _ in f.functions}:
            owners.setdefault(name, []).append(f.path)
    rows = {}
    if args.by_folder:
        for folder in dict.fromkeys(os.path.dirname(f.path) for f in files):
            rows[folder] = figures([f for f in files if os.path.dirname(f.path) == folder],
                                   owners)
        rows["all"] = figures(files, owners)
        print_table(rows)
    else:
        for name, value in figures(files, owners).items():
            print(f"{name:14} {value:>8}")
    if args.names:
        print_names(files, owners)


if __name__ == "__main__":
    sys.exit(main())
