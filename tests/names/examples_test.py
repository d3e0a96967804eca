#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""examples_test.py COMPILER SOURCE LAYERS: the code in the comments of internal headers compiles.

Code is what a comment has five spaces in, with a line that ends as a call does; with "…" it is a sketch.
Each is compiled as the body of a function whose parameters are what the code takes for given. (The
examples of the public headers are whole programs, which tests/install compiles.)
"""
import pathlib
import re
import subprocess
import sys

FLIGHT = "struct hc_single_flight *"
GIVEN = {
    "base/cancellation.h": "struct hc_cancellation *cancellation, pthread_cond_t changed,"
                           " pthread_mutex_t lock, bool has_news, struct hc_error *err",
    "base/directory.h": "int root",
    "base/single_flight.h": "struct hc_single_flights *flights, const void *key, const void *caller,"
                            " struct hc_cancellation *cancellation, struct hc_error *err, int result,"
                            f" int (*run)(struct hc_single_flights *, {FLIGHT}, struct hc_error *),"
                            f" int (*copy_outcome)({FLIGHT}, struct hc_error *)",
    "cache/walk.h": "struct hc_cache *cache",
    "claim/claim_record.h": "struct hc_cache *cache, void (*use)(const struct hc_claim_record *)",
    "claim/lease.h": "struct hc_cache *cache, int64_t now_ms, void (*use)(const struct hc_lease *)",
    "maintenance/removal.h": "const struct hc_cache *cache, struct hc_removal_options options,"
                             " struct hc_removal_result result, struct hc_removal_request request,"
                             " struct hc_error *err",
    "server/log.h": "const char *address",
}


def examples(text):
    """The blocks of code in the comments of a header."""
    for block in re.findall(r"(?:^ \*(?:     .*)?\n)+", text, re.M):
        lines = [line[7:] for line in block.splitlines()]
        if any(line.endswith((");", "return -1;")) for line in lines) and "…" not in block:
            yield "\n".join(lines)


def compile_example(compiler, includes, name, given, code):
    """What the compiler says against it; "" when it compiles."""
    program = (f"#include <{name}>\n#include <stdio.h>\nint example({given});\n"
               f"int example({given})\n{{\n{code}\nreturn 0;\n}}\n")
    command = [compiler, "-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Werror", "-fsyntax-only", *includes,
               "-x", "c", "-"]
    result = subprocess.run(command, input=program, capture_output=True, text=True, check=False)
    return result.stderr if result.returncode else ""


def main(compiler, source, layers):
    root = pathlib.Path(source)
    includes = [f"-I{layer}" for layer in sorted(pathlib.Path(layers).iterdir())]
    includes += [f"-I{root / folder}" for folder in ("lib/include", "client/include")]
    assert compile_example(compiler, includes, "base/error.h", "int a", "a = b;"), "it sees nothing"
    compiled, failures = set(), []
    for path in sorted([*root.glob("lib/*/*.h"), *root.glob("server/*.h"), *root.glob("client/*.h")]):
        name = f"{path.parent.name}/{path.name}"
        for code in examples(path.read_text(encoding="utf-8")):
            compiled.add(name)
            error = (compile_example(compiler, includes, name, GIVEN[name], code) if name in GIVEN
                     else "GIVEN does not say what this example takes for given")
            failures += [f"{name}:\n{code}\n{error}"] if error else []
    failures += [f"{name} has no example any more" for name in sorted(set(GIVEN) - compiled)]
    print("\n".join(failures) or f"the examples of {len(compiled)} headers compile")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
