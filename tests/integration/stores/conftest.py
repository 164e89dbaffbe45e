"""Buckets of a real server."""

from __future__ import annotations

import secrets

import pytest

from g3zkp_maint.testing.seaweed import Seaweed


@pytest.fixture
def bucket(seaweed: Seaweed) -> str:
    """The name of an empty bucket."""
    name = f"test-{secrets.token_hex(6)}"
    seaweed.client().create_bucket(Bucket=name)
    return name
