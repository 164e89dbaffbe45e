"""The last net under secrets in texts: what looks like a credential or a private key is masked. No reason to show one."""

from __future__ import annotations

import re

MASK = "***"

_URL_CREDENTIALS = re.compile(r"\b([a-z][a-z0-9+.-]*://)[^/\s'\"]*@", re.IGNORECASE)
_KEY_MATERIAL = re.compile(
    r"AGE-SECRET-KEY-1[0-9A-Z]+|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL
)


def scrub_text(text: str) -> str:
    """`text` without credentials in URLs and without private keys."""
    return _KEY_MATERIAL.sub(MASK, _URL_CREDENTIALS.sub(rf"\1{MASK}@", text))
