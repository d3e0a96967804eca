#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""names_test.py NM SOURCE LIBRARY...: one name, one thing, in lib/, server/ and client/.

Fails when two of the static libraries, or two objects of one, define the same external symbol, and
when a struct, union or enum tag has two different definitions below SOURCE. Before it looks, it tries
both checks on names that are defined twice.
"""
import pathlib
import re
import subprocess
import sys

FOLDERS = ("lib", "server", "client")
# Comments, strings and character constants hold no code.
NO_CODE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'', re.S)
DEFINITION = re.compile(r"\b(struct|union|enum)\s+([A-Za-z_]\w*)\s*\{")


def definitions(text):
    """Yields (tag, body) of each struct, union and enum that `text` defines; bodies without spaces."""
    code = NO_CODE.sub(" ", text)
    for match in DEFINITION.finditer(code):
        depth, end = 1, match.end()
        while depth > 0 and end < len(code):
            depth += {"{": 1, "}": -1}.get(code[end], 0)
            end += 1
        yield f"{match[1]} {match[2]}", re.sub(r"\s+", "", code[match.end():end])


def tags_defined_twice(files):
    """`files` maps paths to texts. Returns lines that name a tag and where it is defined."""
    found = {}
    for path, text in files.items():
        for tag, body in definitions(text):
            found.setdefault(tag, {}).setdefault(body, []).append(path)
    return [f"{tag} has {len(bodies)} definitions: {', '.join(sorted(sum(bodies.values(), [])))}"
            for tag, bodies in sorted(found.items()) if len(bodies) > 1]


def symbols_defined_twice(listing):
    """`listing` is what nm -A --defined-only --extern-only prints: "library:object:value type name"."""
    found = {}
    for line in listing.splitlines():
        place, _, rest = line.rpartition(":")
        fields = rest.split()
        if len(fields) == 3 and fields[1] not in "VWu":  # weak ones are meant to be defined again
            found.setdefault(fields[2], []).append(place)
    return [f"{name} is defined {len(places)} times: {', '.join(places)}"
            for name, places in sorted(found.items()) if len(places) > 1]


def prove_that_the_checks_see():
    once = {"a.h": "struct one { int a; };", "b.c": 'struct one { int a; }; char *s = "struct one { }";'}
    twice = {**once, "c.c": "/* struct two { } */ struct one { struct { int a; } b; };"}
    assert not tags_defined_twice(once) and len(tags_defined_twice(twice)) == 1
    once = "x.a:a.o:0 T f\nx.a:b.o:0 T g\nx.a:b.o:0 V w\nx.a:a.o:0 V w\n"
    assert not symbols_defined_twice(once) and len(symbols_defined_twice(once + "y.a:c.o:0 D f\n")) == 1


def main(nm, source, *libraries):
    prove_that_the_checks_see()
    root = pathlib.Path(source)
    paths = sorted(path for folder in FOLDERS for path in (root / folder).rglob("*.[ch]"))
    files = {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in paths}
    assert len(files) > 50 and len(libraries) >= 3, "there is nothing to look at"
    listing = subprocess.run([nm, "-A", "--defined-only", "--extern-only", *libraries],
                             check=True, capture_output=True, text=True).stdout
    assert listing.count("\n") > 100, "the libraries define nothing"
    failures = tags_defined_twice(files) + symbols_defined_twice(listing)
    print("\n".join(failures) or f"{len(files)} files, {len(libraries)} libraries: each name is defined once")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
