# SPDX-License-Identifier: Apache-2.0
"""deploy/setup build installs all packages that the build asks pkg-config for. A package that is
missing in its list would not be noticed on a machine that has it already."""

import re

from image_checks import _closure, _owner
from support import DEPLOY, ROOT, output_of, program


def _build_packages():
    (words,) = re.findall(r"build_packages=\(([^)]*)\)", (DEPLOY / "setup").read_text())
    return set(words.split())


def _asked_modules():
    folders = ("cmake", "lib", "proto", "server", "client", "tests")
    files = [ROOT / "CMakeLists.txt"] + [
        path for folder in folders for path in (ROOT / folder).rglob("*")
        if (path.name == "CMakeLists.txt" or path.suffix == ".cmake")
        and "clients" not in path.parts]  # the examples are built by themselves
    asked = re.compile(r"pkg_check_modules\(\w+ REQUIRED (?:IMPORTED_TARGET )?([^)]+)\)")
    return {module for path in files for words in asked.findall(path.read_text())
            for module in words.split() if "$" not in module}


def setup_build_installs_every_module_that_the_build_asks_for():
    assert {"grpc", "libprotobuf-c"} <= _asked_modules()
    installed = _closure(_build_packages())
    for module in sorted(_asked_modules()):
        folder = output_of(program("pkg-config"), "--variable=pcfiledir", module).strip()
        package = _owner(f"{folder}/{module}.pc")
        assert package in installed, f"{module}: deploy/setup build does not install {package}"
