"""What each fleet's keys can do, and that no message shows one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from g3zkp_maint.backup.keyring import Keyring
from g3zkp_maint.errors import KeyMaterialError, MaintenanceError, ManifestInvalid
from g3zkp_maint.testing.backup_site import new_keyring, of_backup_fleet


def secrets_of(keyring: Keyring) -> list[str]:
    assert keyring.signing_key is not None
    assert keyring.manifest_identity is not None
    raw = keyring.signing_key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    return [str(keyring.manifest_identity), *map(str, keyring.recovery_identities), raw.hex(), repr(raw)]


def failing(keyring: Keyring) -> list[Callable[[], object]]:
    return [
        replace(keyring, recipients=()).archive_recipients,
        replace(keyring, manifest_identity=None).index_recipients,
        replace(keyring, manifest_identity=None, recovery_identities=()).index_identities,
        of_backup_fleet(keyring).archive_identities,
        lambda: replace(keyring, signing_key=None).sign(b"x"),
        lambda: keyring.check(b"x", signer="somebody", signature="", what="it"),
        lambda: keyring.check(b"x", signer=keyring.sign(b"y")[0], signature=keyring.sign(b"y")[1], what="it"),
    ]


def test_what_a_key_is_missing_for_is_refused_by_the_settings_name() -> None:
    for call in failing(new_keyring())[:5]:
        with pytest.raises(KeyMaterialError, match=r"keys\."):
            call()


def test_no_message_and_no_repr_holds_a_key() -> None:
    keyring = new_keyring()
    said = [repr(keyring), str(keyring), f"{of_backup_fleet(keyring)!r}"]
    for call in failing(keyring):
        with pytest.raises(MaintenanceError) as caught:
            call()
        said += [str(caught.value), repr(caught.value)]
    for secret in secrets_of(keyring):
        assert not [text for text in said if secret in text]


def test_the_backup_fleet_writes_what_it_cannot_read() -> None:
    fleet = of_backup_fleet(new_keyring())
    assert fleet.archive_recipients()
    assert fleet.index_identities()
    assert len(fleet.index_recipients()) == 2
    with pytest.raises(KeyMaterialError, match="opens no archive"):
        fleet.archive_identities()


def test_a_signature_holds_for_its_message_only() -> None:
    keyring = new_keyring()
    signer, signature = keyring.sign(b"message")
    keyring.check(b"message", signer=signer, signature=signature, what="it")
    with pytest.raises(ManifestInvalid, match="it was changed"):
        keyring.check(b"messagf", signer=signer, signature=signature, what="it")


@pytest.mark.parametrize("signature", ["", "====", "no base64!", "AAAA", "ü"])
def test_what_is_no_signature_is_refused_as_a_changed_document(signature: str) -> None:
    keyring = new_keyring()
    with pytest.raises(ManifestInvalid):
        keyring.check(b"message", signer=keyring.sign(b"")[0], signature=signature, what="it")
