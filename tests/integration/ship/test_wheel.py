"""The wheel as the Dockerfile builds it, installed where nothing of the checkout is."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from g3zkp_maint.testing.maintenance_image import build_wheel

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]

Run = Callable[..., str]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def run(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a program of an environment that has the wheel, in an empty folder. Its dependencies are those of this one, whose
    own g3zkp-maint is not seen there: a `.pth` file is read in a site folder, and this is none of it."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True, timeout=120)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    dependencies = folder / "lib" / version / "site-packages" / "dependencies.pth"
    dependencies.write_text(sysconfig.get_path("purelib") + "\n")
    empty = tmp_path_factory.mktemp("empty")

    def run(program: str, *argv: str) -> str:
        command = [str(folder / "bin" / program), *argv]
        done = subprocess.run(command, cwd=empty, env={}, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_command_line_works_with_the_calendar(run: Run) -> None:
    assert "Keeps a G3ZKP messenger alive" in run("g3zkp-maint", "--help")
    assert "backup.run" in run("g3zkp-maint", "calendar", "show", "--days", "7")
    assert "redis.url" in run("g3zkp-maint", "config", "show")


def test_celery_finds_application_tasks_beat_and_flower(run: Run) -> None:
    assert "g3zkp" in run("python", "-m", "celery", "-A", "workers.app", "report")
    tasks = run("python", "-c", "from workers.app import app, load_tasks; load_tasks(); print(*app.tasks)")
    assert {"backup.run", "crypto.restore", "cleanup.run", "observe.health"} <= set(tasks.split())
    run("python", "-c", "import workers.beat, workers.flower")


def test_what_is_no_python_is_in_it(run: Run, wheel: Path) -> None:
    """Programs that run in the messenger, scripts that run in Redis, and the reference messenger."""
    names = set(zipfile.ZipFile(wheel).namelist())
    for package in ("g3zkp_maint", "messenger"):
        for pattern in ("*.js", "*.lua"):
            kept = {str(one.relative_to(ROOT)) for one in (ROOT / package).rglob(pattern)}
            assert kept - names == set()
    assert "beat_schedule.py" in names
    assert "server.js" in run("python", "-c", "import messenger, os; print(os.listdir(messenger.path()))")


def test_nothing_of_the_tests_of_the_checkout_is_in_it(wheel: Path) -> None:
    top = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {one for one in top if not one.endswith(".dist-info")} == {
        "g3zkp_maint",
        "messenger",
        "workers",
        "beat_schedule.py",
    }
