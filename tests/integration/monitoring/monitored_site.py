"""A site as operators have it: a stack, Prometheus, Alertmanager, and who is told."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from g3zkp_maint.stack import inquiry
from g3zkp_maint.testing.prometheus import Prometheus
from g3zkp_maint.testing.running_stack import RunningStack
from g3zkp_maint.testing.webhook import Webhook


@dataclass(frozen=True)
class Site:
    """`backup` is what the fleet answered of the backup that it made."""

    stack: RunningStack
    backup: dict[str, Any]
    prometheus: Prometheus
    webhook: Webhook

    @property
    def addresses(self) -> dict[str, str]:
        return inquiry.addresses(self.stack.layout)

    def alerts(self) -> list[dict[str, Any]]:
        """All that were delivered, in order."""
        return [alert for _, document in self.webhook.posted for alert in document["alerts"]]

    def secrets(self) -> set[str]:
        """What must be seen nowhere: private keys, passwords, and what the messenger's Secret holds, encoded or not."""
        layout = self.stack.layout
        private = [file for pattern in ("*/*.identity", "*/*.pem") for file in layout.all_keys.glob(pattern)]
        texts = [file.read_text() for file in (*private, *layout.root.glob("*/password"))]
        lines = {line for text in texts for line in text.splitlines() if not line.startswith(("#", "-----"))}
        values = [json.loads(file.read_text())["data"] for file in layout.secrets.glob("*.json")]
        encoded = {value for data in values for value in data.values()}
        return lines | encoded | {base64.b64decode(value).decode() for value in encoded}


def asked(stack: RunningStack, program: str) -> str:
    """What a program says that an operator runs beside the stack."""
    command = f'. {stack.layout.env_file} && exec "$@"'
    done = subprocess.run(
        ["sh", "-c", command, "sh", sys.executable, "-c", program],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
