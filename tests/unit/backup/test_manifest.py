"""A manifest is believed to the byte or not at all."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime

import pytest

from g3zkp_maint.backup import manifest as manifests
from g3zkp_maint.backup.keyring import Keyring
from g3zkp_maint.backup.manifest import Archive, Component, Counts, Manifest, Outcome, canonical, load, signed
from g3zkp_maint.backup.name import BackupType
from g3zkp_maint.errors import BadInput, KeyMaterialError, ManifestInvalid
from g3zkp_maint.testing.backup_site import new_keyring

NAME = "g3zkp_full_20260104_020000"
AT = datetime(2026, 1, 4, 2, tzinfo=UTC)


def an_archive(id: int = 0, backup: str = NAME) -> Archive:
    return Archive(
        id=id, backup=backup, component="ipfs", key=f"k{id}", size=1, sha256="0" * 64, plain_size=2, entries=1
    )


def a_manifest(**fields: object) -> Manifest:
    facts: dict[str, object] = {
        "product": "1",
        "name": NAME,
        "type": BackupType.FULL,
        "outcome": Outcome.OK,
        "run": "full:1",
        "parent": None,
        "previous": None,
        "planned_at": AT,
        "sealed_at": AT,
        "components": (Component(name="ipfs", kind="files", path="ipfs", counts=Counts(notes={"grew": 1})),),
        "archives": (an_archive(),),
        "recipients": ("age1",),
        "notes": ("a note, with ü",),
    }
    return Manifest.model_validate(facts | fields)


def test_a_signed_manifest_is_read_back(keyring: Keyring) -> None:
    raw = signed(a_manifest(), keyring)
    loaded = load(raw, keyring, name=NAME)
    assert loaded.model_copy(update={"signature": None}) == a_manifest()
    assert signed(loaded, keyring) == raw


def test_every_change_of_a_single_byte_is_refused(keyring: Keyring) -> None:
    raw = signed(a_manifest(), keyring)
    for position in range(len(raw)):
        for flip in (0x01, 0x02, 0x20, 0x80):
            changed = bytearray(raw)
            changed[position] ^= flip
            with pytest.raises(ManifestInvalid):
                load(bytes(changed), keyring, name=NAME)


def test_every_other_spelling_of_the_signature_is_refused(keyring: Keyring) -> None:
    """Base64 has bits that mean nothing: a manifest with other ones would have another digest and pass."""
    document = json.loads(signed(a_manifest(), keyring))
    text = document["signature"]["ed25519"]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for letter in set(alphabet) - {text[-3]}:
        document["signature"]["ed25519"] = f"{text[:-3]}{letter}=="
        with pytest.raises(ManifestInvalid):
            load(canonical(document), keyring, name=NAME)


def test_every_cut_is_refused(keyring: Keyring) -> None:
    raw = signed(a_manifest(), keyring)
    for end in range(len(raw)):
        with pytest.raises(ManifestInvalid):
            load(raw[:end], keyring, name=NAME)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"null",
        b"7",
        b'"text"',
        b"{}",
        b'{"signature":7}',
        b'{"signature":{"signer":"a","ed25519":"b"},"version":NaN}',
        b'{"signature":{"signer":"a","ed25519":"b"},"name":"\\ud800"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xff\xfe",
        b"9" * 10_000,
    ],
    ids=lambda raw: repr(raw[:20]),
)
def test_whatever_lies_in_the_place_of_a_manifest_is_refused_as_one(raw: bytes, keyring: Keyring) -> None:
    with pytest.raises(ManifestInvalid):
        load(raw, keyring, name=NAME)


def test_another_order_of_the_keys_or_other_white_space_is_refused(keyring: Keyring) -> None:
    document = json.loads(signed(a_manifest(), keyring))
    for raw in (json.dumps(document).encode(), canonical(document) + b"\n"):
        with pytest.raises(ManifestInvalid, match="canonical"):
            load(raw, keyring, name=NAME)


def test_a_signer_who_is_not_trusted_is_refused_by_name(keyring: Keyring) -> None:
    other = new_keyring()
    with pytest.raises(ManifestInvalid, match=r"not among keys\.trusted_signers"):
        load(signed(a_manifest(), other), keyring, name=NAME)


def test_a_signature_of_another_key_under_a_trusted_name_is_refused(keyring: Keyring) -> None:
    other = new_keyring()
    document = json.loads(signed(a_manifest(), other))
    document["signature"]["signer"] = json.loads(signed(a_manifest(), keyring))["signature"]["signer"]
    with pytest.raises(ManifestInvalid, match="signature does not match"):
        load(canonical(document), keyring, name=NAME)


def test_a_manifest_in_the_place_of_another_is_refused(keyring: Keyring) -> None:
    with pytest.raises(ManifestInvalid, match="swapped"):
        load(signed(a_manifest(), keyring), keyring, name="g3zkp_full_20260105_020000")


def test_a_later_version_is_refused_with_what_to_do(keyring: Keyring) -> None:
    document = a_manifest().model_dump(mode="json", exclude={"signature"}) | {"version": 2}
    signer, signature = keyring.sign(canonical(document))
    raw = canonical(document | {"signature": {"signer": signer, "ed25519": signature}})
    with pytest.raises(ManifestInvalid, match="version 2, this product reads 1; use a newer one"):
        load(raw, keyring, name=NAME)


def test_a_signed_manifest_with_a_field_too_many_is_refused(keyring: Keyring) -> None:
    document = a_manifest().model_dump(mode="json", exclude={"signature"}) | {"extra": 1}
    signer, signature = keyring.sign(canonical(document))
    raw = canonical(document | {"signature": {"signer": signer, "ed25519": signature}})
    with pytest.raises(ManifestInvalid, match="malformed at extra"):
        load(raw, keyring, name=NAME)


def test_two_archives_of_one_id_make_no_manifest() -> None:
    with pytest.raises(ValueError, match="ids differ"):
        a_manifest(archives=(an_archive(1), an_archive(1)))


def test_a_name_of_another_type_makes_no_manifest() -> None:
    with pytest.raises(ValueError, match="name and type agree"):
        a_manifest(type=BackupType.INCREMENTAL)


def test_own_archives_are_those_that_this_backup_stored() -> None:
    mine, other = an_archive(1), an_archive(0, "g3zkp_full_20260101_020000")
    assert a_manifest(archives=(other, mine)).own_archives() == (mine,)


def test_an_unknown_component_is_refused_with_those_there_are() -> None:
    with pytest.raises(BadInput, match="no component 'redis'; it has ipfs"):
        a_manifest().component("redis")


def test_nothing_is_signed_without_a_key(keyring: Keyring) -> None:
    with pytest.raises(KeyMaterialError, match=r"keys\.signing_key"):
        signed(a_manifest(), dataclasses.replace(keyring, signing_key=None))


def test_the_digest_is_that_of_the_stored_bytes() -> None:
    assert manifests.digest(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
