"""kubectl, for tests: what a person would type, with a time limit, on one namespace of one cluster."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

COMMAND_SECONDS = 120.0


class KubectlFailed(AssertionError):
    """Raised when kubectl ends with another status than 0; tells what it said."""


@dataclass(frozen=True)
class Kubectl:
    """`namespace` holds for every call; what has none ignores it."""

    kubeconfig: Path
    namespace: str

    def __call__(self, *args: str, stdin: bytes | None = None, timeout_seconds: float = COMMAND_SECONDS) -> bytes:
        """stdout. Raises KubectlFailed."""
        done = self.run(*args, stdin=stdin, timeout_seconds=timeout_seconds)
        if done.returncode != 0:
            raise KubectlFailed(f"kubectl {' '.join(args)}: {done.returncode}\n{done.stderr.decode(errors='replace')}")
        return done.stdout

    def run(
        self, *args: str, stdin: bytes | None = None, timeout_seconds: float = COMMAND_SECONDS
    ) -> subprocess.CompletedProcess[bytes]:
        """Any outcome. stdin is empty unless given."""
        return subprocess.run(
            ["kubectl", "--kubeconfig", str(self.kubeconfig), "--namespace", self.namespace, *args],
            input=stdin if stdin is not None else b"",
            capture_output=True,
            timeout=timeout_seconds,
            check=False,
        )

    def get(self, *args: str) -> Any:
        """The object, or list of objects, that `get` finds."""
        return json.loads(self("get", *args, "-o", "json"))

    def apply(self, objects: Iterable[Mapping[str, Any]], *options: str) -> str:
        """Applies them; returns what kubectl says of each."""
        text = yaml.safe_dump_all([dict(one) for one in objects], sort_keys=False)
        return self("apply", "-f", "-", *options, stdin=text.encode()).decode()

    def exec(self, target: str, *argv: str, stdin: bytes | None = None, timeout_seconds: float = 300) -> bytes:
        """stdout of a command in `target`, a pod or `deploy/…`."""
        interactive = ["-i"] if stdin is not None else []
        return self("exec", *interactive, target, "--", *argv, stdin=stdin, timeout_seconds=timeout_seconds)
