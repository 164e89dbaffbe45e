"""A file that a command writes: whole, or not at all."""

from __future__ import annotations

import tempfile
from pathlib import Path

from g3zkp_maint.errors import BadInput


def replace_file(path: Path, content: bytes) -> None:
    """Another program may be reading the file, and sees the former one or this. Raises BadInput."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
            file.write(content)
        Path(file.name).chmod(0o644)
        Path(file.name).replace(path)
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror}; name a file in a folder that can be written") from error
