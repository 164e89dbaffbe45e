"""The product as a container image: the wheel of a checkout, what it depends on, and this machine's Python.

What the Dockerfile makes in a builder, made of what is installed here already. Python lies in /usr/local and runs the code
as uid 1001, as there.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint, distribution
from pathlib import Path

from g3zkp_maint.testing.cluster_image import ClusterImages
from g3zkp_maint.testing.pins import OURS, needed, pins

#: As the overlay `dev` names it.
REPOSITORY = "library/g3zkp-maint"
PROGRAMS = {"g3zkp-maint": "g3zkp-maint", "celery": "celery"}
_PREFIX = "/usr/local"
_NOT_NEEDED = ("site-packages", "test", "idlelib", "lib2to3", "ensurepip", "turtledemo", "config-*", "__phello__")
_INSTALL_SECONDS = 120


def ensure_maintenance_image(images: ClusterImages, checkout: Path, scratch: Path) -> None:
    """Has `g3zkp-maint:latest` in the cluster, made of `checkout`. `scratch` is a new folder."""
    wheel = build_wheel(checkout, scratch)
    images.ensure(REPOSITORY, _content(wheel), lambda: _options(wheel, scratch))


def build_wheel(checkout: Path, folder: Path) -> Path:
    """The wheel, in `folder`, made with what is installed here."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
    _run([*pip, "--no-build-isolation", "--wheel-dir", str(folder), str(checkout)])
    (wheel,) = folder.glob("g3zkp_maint-*.whl")
    return wheel


def _content(wheel: Path) -> str:
    digest = hashlib.sha256(sys.version.encode() + wheel.read_bytes() + Path(__file__).read_bytes())
    digest.update(repr(pins()).encode())
    return digest.hexdigest()[:16]


def _options(wheel: Path, scratch: Path) -> list[str]:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = Path(sysconfig.get_path("stdlib"))
    packages = f"{_PREFIX}/lib/{version}/site-packages"
    own = _installed(wheel, scratch / "own")
    parts = {one: f"{_PREFIX}/lib/{version}/{one.name}" for one in library.iterdir() if not _is_left_out(one)}
    parts |= {one: f"{packages}/{one.name}" for one in [*_of_dependencies(), *own.iterdir()]}
    parts |= {one: f"{_PREFIX}/bin/{one.name}" for one in _programs(scratch / "bin", version)}
    parts |= {one: str(one) for one in _linked([Path(sys.executable).resolve(), *_binaries(parts)])}
    added = [word for place, there in parts.items() for word in ("--add", f"{place}:{there}")]
    python = [f"{Path(sys.executable).resolve()}:{_PREFIX}/bin/{name}" for name in (version, "python")]
    added += [word for one in python for word in ("--add", one)]
    return [*added, "--user", "1001", "--workdir", "/tmp", "--", "g3zkp-maint", "--help"]  # noqa: S108


def _is_left_out(part: Path) -> bool:
    return any(part.match(pattern) for pattern in _NOT_NEEDED)


def _installed(wheel: Path, folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-index"]
    _run([*pip, "--target", str(folder), str(wheel)])
    shutil.rmtree(folder / "bin")  # its scripts name this machine's Python
    return folder


def _of_dependencies() -> set[Path]:
    """What they have put into site-packages: files and folders, each once."""
    found = set()
    for one in needed():
        if one.name != OURS:
            first = {file.parts[0] for file in one.files or ()} - {"..", "__pycache__"}
            found |= {Path(str(one.locate_file(name))) for name in first}
    return found


def _programs(folder: Path, version: str) -> Iterator[Path]:
    folder.mkdir()
    for name, package in PROGRAMS.items():
        (script,) = distribution(package).entry_points.select(group="console_scripts", name=name)
        path = folder / name
        path.write_text(_script(script, version))
        path.chmod(0o755)
        yield path


def _script(entry: EntryPoint, version: str) -> str:
    return f"#!{_PREFIX}/bin/{version}\nimport sys\nfrom {entry.module} import {entry.attr}\nsys.exit({entry.attr}())\n"


def _binaries(places: Iterable[Path]) -> Iterator[Path]:
    for place in list(places):
        for file in place.rglob("*") if place.is_dir() else [place]:
            if file.is_file() and (".so" in file.suffixes or file.stat().st_mode & 0o100):
                with file.open("rb") as content:
                    if content.read(4) == b"\x7fELF":
                        yield file


def _linked(binaries: Iterable[Path]) -> set[Path]:
    """Libraries of this machine that they are linked with, by the names under which they are looked for. What a package
    brings along it finds beside itself."""
    done = subprocess.run(["ldd", *map(str, binaries)], capture_output=True, text=True, timeout=60, check=False)
    words = {word for line in done.stdout.splitlines() if line.startswith("\t") for word in line.split()}
    packages = sysconfig.get_path("purelib")
    return {Path(one) for one in words if one.startswith("/") and not one.startswith(packages)}


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
