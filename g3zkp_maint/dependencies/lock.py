"""An npm lock file (lockfileVersion 2 and 3): which packages the messenger names itself, and in which version it has them."""

from __future__ import annotations

import json
from pathlib import Path

from g3zkp_maint.errors import BadInput


def direct(path: Path) -> dict[str, str]:
    """Version by name. Raises BadInput for what is no such file."""
    try:
        packages = json.loads(path.read_text(encoding="utf-8"))["packages"]
        own = packages[""]
        names = {*own.get("dependencies", {}), *own.get("optionalDependencies", {})}
        found = {name: packages[f"node_modules/{name}"] for name in sorted(names)}
        # A link leads to a folder of the messenger's own.
        return {name: str(one["version"]) for name, one in found.items() if not one.get("link")}
    except OSError as error:
        raise BadInput(f"dependencies.npm_lock={path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{path} is no lock file of npm 7 or newer (lockfileVersion 2 or 3)") from error
