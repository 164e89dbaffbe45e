from __future__ import annotations

from pathlib import Path

import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from g3zkp_maint.errors import KeyMaterialError
from g3zkp_maint.keys import material
from g3zkp_maint.stack import first_start
from g3zkp_maint.stack.layout import Layout


def private(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_what_is_generated_loads_and_fits_together(tmp_path: Path) -> None:
    made = material.generate()
    recipients = material.load_recipients(private(tmp_path / "r", made.recipients))
    recovery = material.load_identities(private(tmp_path / "i", made.recovery_identity))
    sealed = pyrage.encrypt(b"archive", recipients)
    assert pyrage.decrypt(sealed, recovery) == b"archive"
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(sealed, material.load_identities(private(tmp_path / "m", made.manifest_identity)))
    signers = material.load_signers(private(tmp_path / "s", made.trusted_signers))
    for pem, public in zip((made.backup_signing_key, made.crypto_signing_key), signers, strict=True):
        public.verify(material.load_signing_key(private(tmp_path / "k", pem)).sign(b"manifest"), b"manifest")


def test_the_set_shows_no_private_key() -> None:
    made = material.generate()
    assert "AGE-SECRET-KEY" not in repr(made)
    assert "PRIVATE" not in repr(made)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_private_files_that_others_may_read_are_refused(tmp_path: Path, mode: int) -> None:
    made = material.generate()
    with pytest.raises(KeyMaterialError, match="chmod 600"):
        material.load_identities(private(tmp_path / "i", made.recovery_identity, mode))
    with pytest.raises(KeyMaterialError, match="chmod 600"):
        material.load_signing_key(private(tmp_path / "k", made.backup_signing_key, mode))


@pytest.mark.parametrize(
    ("mode", "owner", "reader", "expected"),
    [
        (0o600, 1001, 1001, True),
        (0o440, 0, 1001, True),  # a Secret in a pod with an fsGroup
        (0o640, 0, 1001, True),
        (0o440, 0, 0, False),
        (0o440, 1001, 1001, False),
        (0o440, 1002, 1001, False),
        (0o460, 0, 1001, False),
        (0o444, 0, 1001, False),
    ],
)
def test_a_group_may_read_only_what_root_gave_to_somebody_else(
    mode: int, owner: int, reader: int, expected: bool
) -> None:
    assert material.is_private(mode, owner=owner, reader=reader) is expected


def test_a_wrong_file_is_named_and_not_shown(tmp_path: Path) -> None:
    secret = "AGE-SECRET-KEY-1WRONG"
    for load in (
        material.load_identities,
        material.load_recipients,
        material.load_signing_key,
        material.load_signers,
    ):
        with pytest.raises(KeyMaterialError, match=r"wrong\.key") as caught:
            load(private(tmp_path / "wrong.key", secret))
        assert secret not in str(caught.value)
        with pytest.raises(KeyMaterialError, match=r"holds no|is no private key"):
            load(private(tmp_path / "empty", "# nothing\n"))
        with pytest.raises(KeyMaterialError, match="cannot be read"):
            load(tmp_path / "absent")
        (tmp_path / "binary").write_bytes(b"\xff\xfe")
        with pytest.raises(KeyMaterialError, match="ASCII"):
            load(tmp_path / "binary")


def test_another_kind_of_private_key_is_refused(tmp_path: Path) -> None:
    pem = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with pytest.raises(KeyMaterialError, match="Ed25519"):
        material.load_signing_key(private(tmp_path / "k", pem))


def test_keys_are_made_once(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert first_start.ensure_keys(layout)
    before = {path: path.read_bytes() for path in layout.all_keys.rglob("*.*")}
    assert not first_start.ensure_keys(layout)
    assert {path: path.read_bytes() for path in layout.all_keys.rglob("*.*")} == before
    assert [path.name for path in tmp_path.iterdir()] == ["keys"]


def test_an_incomplete_set_is_refused_and_not_replaced(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    first_start.ensure_keys(layout)
    (layout.keys("crypto") / "recovery.identity").unlink()
    with pytest.raises(KeyMaterialError, match=r"crypto/recovery\.identity"):
        first_start.ensure_keys(layout)
