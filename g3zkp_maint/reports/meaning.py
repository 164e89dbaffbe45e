"""What the code of a run's end means, in a sentence that tells of the code alone. Pure."""

from __future__ import annotations

import inspect
import re
from functools import cache

from g3zkp_maint import errors

_RAISED = re.compile(r"Raised (?:when|where|for|at|by) ", re.IGNORECASE)
#: What a run can end with that is no error of the product.
_OTHERS = {
    "partial": "It ended, and is usable; something lacks, which the run tells",
    "failed": "It ended, and found that something is not as it must be",
    "died": "Its worker was gone",
    "unexpected": "An error that is not one of the product's; its text is in the worker's log",
}


def meaning(code: str) -> str:
    """Of an error's code: what its docstring says of it."""
    return _OTHERS.get(code) or _by_code().get(code) or "Its run tells"


@cache
def _by_code() -> dict[str, str]:
    found = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, errors.MaintenanceError)]
    return {one.code: _sentence(one.__doc__ or "") for one in found if "code" in vars(one)}


def _sentence(docstring: str) -> str:
    """The first one, without what it is raised by."""
    text = _RAISED.sub("", " ".join(docstring.split()), count=1)
    first = re.split(r"\.(?:\s|$)|;\s", text, maxsplit=1)[0]
    return first[:1].upper() + first[1:]
