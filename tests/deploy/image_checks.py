# SPDX-License-Identifier: Apache-2.0
"""Checks of the image that need no container engine: its build commands work on the files that
.dockerignore keeps, its packages exist and are those that the programs need.

Its gRPC is not built for them, which would take a quarter of an hour: what deploy/grpc/build has
installed in build/grpc stands for it. Without that the commands build with the packages' gRPC,
and the checks of the programs' libraries are skipped."""

import functools
import json
import pathlib
import re
import shutil
import tempfile

import yaml

from support import DEPLOY, ROOT, Skipped, output_of, program

PROGRAMS = ("hubcached", "hubcache")
GRPC, BUILT_GRPC = "/opt/grpc", ROOT / "build/grpc"


@functools.cache
def _instructions():
    """[(word, argument)] of the Dockerfile, continued lines joined."""
    text = (DEPLOY / "Dockerfile").read_text()
    lines = re.sub(r"(?m)^#.*\n", "", text).replace("\\\n", " ").splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]


def _stages():
    begins = [i for i, (word, _) in enumerate(_instructions()) if word == "FROM"]
    return [_instructions()[begin:end]
            for begin, end in zip(begins, begins[1:] + [len(_instructions())])]


def _arguments(stage, wanted):
    return [argument for word, argument in _stages()[stage] if word == wanted]


def _packages():
    (install,) = [run for run in _arguments(-1, "RUN") if "apt-get install" in run]
    words = install.split("apt-get install", 1)[1].split("&&")[0].split()
    return {word for word in words if not word.startswith("-")}


def _context(folder):
    """Copies the files that an engine would be sent: those that .dockerignore excepts from `*`."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*" and all(rule.startswith("!") for rule in rules[1:]), rules
    for path in (rule[1:] for rule in rules[1:]):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / path).is_dir() else shutil.copy2
        copy(ROOT / path, target)


def _has_grpc():
    return (BUILT_GRPC / "lib/libgrpc.a").exists()


def _need_grpc():
    if not _has_grpc():
        raise Skipped("build/grpc has no gRPC, so the image's programs were built with that of the "
                      "packages: not checked is that they link with the image's own, and need no "
                      "other libraries; tests/run --grpc current builds it")


@functools.cache
def _image():
    """The folder that stands for / of the build stage, once its commands have run."""
    if not (ROOT / "server/CMakeLists.txt").exists():
        raise Skipped("there is no server to build yet")
    keeper = tempfile.TemporaryDirectory(prefix="hubcache-image-")
    root = pathlib.Path(keeper.name)
    _context(root / "src")
    for run in _arguments(1, "RUN"):
        command = run.replace("/out", f"{root}/out")
        command = command.replace(GRPC, str(BUILT_GRPC) if _has_grpc() else "")
        output_of("sh", "-e", "-c", f"cd {root}/src && {command}")
    return root, keeper


def _path_of(name):
    return _image()[0] / "out/bin" / name


def _owner(path):
    """The package of a library; dpkg may know it by its path before /usr was merged."""
    path = str(pathlib.Path(path).resolve())
    for known in (path, path.removeprefix("/usr")):
        try:
            return output_of(program("dpkg-query"), "--search", known).split(":")[0]
        except AssertionError:
            continue
    raise AssertionError(f"no package owns {path}")


def _libraries(name):
    """The libraries of a program, {soname: path}: all of them, and those that it names itself."""
    listed = output_of("ldd", _path_of(name))
    assert "not found" not in listed, listed
    paths = dict(re.findall(r"(\S+) => (/\S+)", listed))
    dynamic = output_of(program("readelf"), "--dynamic", "--wide", _path_of(name))
    own = re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic)
    return paths, {soname: paths[soname] for soname in own if soname in paths}


def _closure(packages):
    listed = output_of(program("apt-cache"), "depends", "--recurse", "--no-recommends",
                       "--no-suggests", "--no-conflicts", "--no-breaks", "--no-replaces",
                       "--no-enhances", *packages)
    return set(re.findall(r"(?m)^[a-z0-9][a-z0-9+.-]*", listed))


def the_build_commands_work_on_what_dockerignore_lets_through():
    for name in PROGRAMS:
        assert name in output_of(_path_of(name), "--help")


def the_image_takes_exactly_what_the_build_made():
    (copy,) = _arguments(-1, "COPY")
    sources = [word for word in copy.split() if word.startswith("/out/")]
    assert sorted(sources) == sorted(f"/out/bin/{name}" for name in PROGRAMS)
    assert all((_image()[0] / source[1:]).is_file() for source in sources)


def every_library_of_the_programs_is_in_the_image():
    _need_grpc()
    installed = _closure(_packages() | {"libc6"})
    for name in PROGRAMS:
        owners = {_owner(path) for path in _libraries(name)[0].values()}
        assert owners <= installed, owners - installed


def the_image_names_the_libraries_that_the_programs_name_and_no_other():
    _need_grpc()
    owners = {_owner(path) for name in PROGRAMS for path in _libraries(name)[1].values()}
    assert owners - {"libc6"} == _packages() - {"ca-certificates"}


def every_package_of_the_image_can_be_had():
    for package in sorted(_packages()):
        assert "Package: " in output_of(program("apt-cache"), "show", package)


def the_image_runs_as_the_user_of_the_deployment():
    manifest = yaml.safe_load((DEPLOY / "kustomize/base/deployment.yaml").read_text())
    context = manifest["spec"]["template"]["spec"]["securityContext"]
    assert _arguments(-1, "USER") == [f"{context['runAsUser']}:{context['runAsGroup']}"]


def the_image_starts_hubcached_without_a_shell_on_the_port_it_exposes():
    (entry,), (arguments,) = _arguments(-1, "ENTRYPOINT"), _arguments(-1, "CMD")
    (port,) = _arguments(-1, "EXPOSE")
    assert json.loads(entry) == ["hubcached"]
    assert json.loads(arguments) == ["--listen", f"0.0.0.0:{port}", "--allow-plaintext"]


def all_stages_start_from_the_same_release():
    images = [argument.split()[0] for stage in (0, 1, 2) for argument in _arguments(stage, "FROM")]
    assert images == ["debian:12-slim", "grpc", "debian:12-slim"]


def the_programs_are_built_with_the_grpc_that_the_image_builds():
    """The first stage leaves nothing but what is installed, and is not built again when the
    project's own sources change."""
    copied = [argument.split()[0] for argument in _arguments(0, "COPY")]
    *_, build = _arguments(0, "RUN")
    assert copied == ["deploy/setup", "deploy/grpc"]
    assert build.startswith(f"deploy/grpc/build {GRPC} ")
    assert f"rm -r {GRPC}/build {GRPC}/source" in build
    assert f"-DHC_GRPC_ROOT={GRPC} " in _arguments(1, "RUN")[0]


def every_file_that_the_first_stage_copies_passes_dockerignore():
    with tempfile.TemporaryDirectory(prefix="hubcache-image-") as folder:
        _context(pathlib.Path(folder))
        for argument in _arguments(0, "COPY"):
            assert (pathlib.Path(folder) / argument.split()[0]).exists(), argument
