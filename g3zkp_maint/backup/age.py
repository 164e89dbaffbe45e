"""age files (https://c2sp.org/age), for X25519 keys: as a stream out of pieces, and back into pieces.

`pyrage` makes and reads the keys, and what is made here it opens, and `age`; why not by `pyrage` itself: it passes content
in steps of 8 KiB through Python, copies it five times, and was a quarter of all that a restore computed. Here each block
of 64 KiB is one call of OpenSSL's ChaCha20-Poly1305, out of the piece that it came in into the buffer that goes on.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import pyrage
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from g3zkp_maint.stores.base import Chunk

_VERSION = b"age-encryption.org/v1"
_X25519 = b"age-encryption.org/v1/X25519"
_FILE_KEY, _NONCE, _TAG = 16, 16, 16
_BLOCK = 64 << 10
_SEALED_BLOCK = _BLOCK + _TAG
#: Blocks that are gathered into one piece.
_SEALED_TOGETHER, _OPENED_TOGETHER = 16, 4
#: Longer headers are none: each recipient takes 99 bytes.
_MOST_HEADER = 64 << 10
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


class NotOpened(Exception):
    """Raised when bytes are no whole age file that these identities open; says why."""


def encrypted(plain: Iterable[Chunk], recipients: Sequence[pyrage.x25519.Recipient]) -> Iterator[Chunk]:
    """The age file of `plain`, in pieces of about 1 MiB, which are the caller's. What `plain` raises passes."""
    file_key, nonce = os.urandom(_FILE_KEY), os.urandom(_NONCE)
    yield _header(file_key, recipients) + nonce
    cipher = ChaCha20Poly1305(_derived(file_key, nonce, b"payload"))
    out, filled = bytearray(_SEALED_TOGETHER * _SEALED_BLOCK), 0
    for number, (block, is_last) in enumerate(_blocks(plain, _BLOCK)):
        end = filled + len(block) + _TAG
        cipher.encrypt_into(_block_nonce(number, is_last=is_last), block, None, memoryview(out)[filled:end])
        filled = end
        if is_last:
            yield memoryview(out)[:filled]
        elif filled == len(out):
            yield out
            out, filled = bytearray(len(out)), 0


def decrypted(stored: Iterable[Chunk], identities: Sequence[pyrage.x25519.Identity]) -> Iterator[memoryview]:
    """The content of an age file, in pieces of 256 KiB, each to be used before the next is asked for. All of it is the
    file's, in its order, and when this ends without an error it was all. Raises NotOpened; what `stored` raises passes."""
    source = iter(stored)
    head, rest = _split_header(source)
    file_key = _file_key(head, identities)
    nonce, rest = rest[:_NONCE], rest[_NONCE:]
    cipher = ChaCha20Poly1305(_derived(file_key, nonce, b"payload"))
    out = memoryview(bytearray(_OPENED_TOGETHER * _BLOCK))
    filled = 0
    for number, (block, is_last) in enumerate(_blocks(_chained(rest, source), _SEALED_BLOCK)):
        end = filled + len(block) - _TAG
        # Only the one block of an empty file may be empty.
        if len(block) < _TAG or (len(block) == _TAG and number):
            raise NotOpened("it is cut short")
        try:
            cipher.decrypt_into(_block_nonce(number, is_last=is_last), block, None, out[filled:end])
        except InvalidTag:
            raise NotOpened(f"its block {number} was changed, or is its last and should not be") from None
        filled = end
        if is_last or filled == len(out):
            yield out[:filled]
            filled = 0


def _blocks(pieces: Iterable[Chunk], size: int) -> Iterator[tuple[Chunk, bool]]:
    """Blocks of `size` bytes, and whether it is the last one: that may be shorter, and is empty only if all is. Each is to
    be used before the next is asked for."""
    held = bytearray()
    for piece in pieces:
        view = memoryview(piece)
        while len(held) + len(view) > size:
            if held:
                missing = size - len(held)
                held += view[:missing]
                view = view[missing:]
                yield held, False
                held.clear()
            else:
                yield view[:size], False
                view = view[size:]
        held += view
    yield held, True


def _chained(first: bytes, rest: Iterator[Chunk]) -> Iterator[Chunk]:
    yield first
    yield from rest


def _block_nonce(number: int, *, is_last: bool) -> bytes:
    return (number << 8 | is_last).to_bytes(12, "big")


# -- the header ---------------------------------------------------------------------------------------------------------


def _header(file_key: bytes, recipients: Sequence[pyrage.x25519.Recipient]) -> bytes:
    lines = [_VERSION]
    for recipient in recipients:
        public = _raw_key(str(recipient))
        ephemeral = X25519PrivateKey.generate()
        share = ephemeral.public_key().public_bytes_raw()
        shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(public))
        lines += [
            b"-> X25519 " + _text(share),
            _text(_wrapping(shared, share, public).encrypt(bytes(12), file_key, None)),
        ]
    head = b"\n".join([*lines, b"---"])
    return head + b" " + _text(_mac(file_key, head).finalize()) + b"\n"


def _split_header(source: Iterator[Chunk]) -> tuple[bytes, bytes]:
    """The header with the newline at its end, and what came after it: the nonce at least. Raises NotOpened."""
    read = bytearray()
    for piece in source:
        read += piece
        last_line = read.find(b"\n--- ", 0, _MOST_HEADER)
        end = read.find(b"\n", last_line + 1) + 1 if last_line >= 0 else 0
        if end and len(read) >= end + _NONCE:
            return bytes(read[:end]), bytes(read[end:])
        if len(read) > 2 * _MOST_HEADER:
            break
    raise NotOpened("it has no whole header")


def _file_key(head: bytes, identities: Sequence[pyrage.x25519.Identity]) -> bytes:
    """Of the first stanza that one of the identities opens. Raises NotOpened."""
    first, *lines, last = head[:-1].split(b"\n")
    if first != _VERSION:
        raise NotOpened("it is no age file of version 1")
    secrets = [X25519PrivateKey.from_private_bytes(_raw_key(str(identity))) for identity in identities]
    for stanza, body in pairwise(lines):
        words = stanza.split(b" ")
        if words[:2] != [b"->", b"X25519"]:
            continue
        share, wrapped = (_bytes(text, 32) for text in (words[-1], body))
        for secret in secrets:
            file_key = _unwrapped(secret, share, wrapped)
            if file_key is not None:
                _verify_mac(file_key, head, last)
                return file_key
    raise NotOpened("none of the keys that are here opens it")


def _unwrapped(secret: X25519PrivateKey, share: bytes, wrapped: bytes) -> bytes | None:
    try:
        shared = secret.exchange(X25519PublicKey.from_public_bytes(share))
    except ValueError:  # all zeros: a share that fits every key
        raise NotOpened("its header was changed") from None
    try:
        return _wrapping(shared, share, secret.public_key().public_bytes_raw()).decrypt(bytes(12), wrapped, None)
    except InvalidTag:
        return None


def _verify_mac(file_key: bytes, head: bytes, last: bytes) -> None:
    mac = _bytes(last.removeprefix(b"--- "), 32)
    try:
        _mac(file_key, head[: -len(last) - 1] + b"---").verify(mac)
    except InvalidSignature:
        raise NotOpened("its header was changed") from None


def _wrapping(shared: bytes, share: bytes, public: bytes) -> ChaCha20Poly1305:
    """The cipher that one recipient's copy of the file key is under."""
    return ChaCha20Poly1305(_derived(shared, share + public, _X25519))


def _mac(file_key: bytes, head: bytes) -> hmac.HMAC:
    mac = hmac.HMAC(_derived(file_key, b"", b"header"), hashes.SHA256())
    mac.update(head)
    return mac


def _derived(key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt, info).derive(key)


def _text(raw: bytes) -> bytes:
    return base64.b64encode(raw).rstrip(b"=")


def _bytes(text: bytes, size: int) -> bytes:
    """The other way round, for the one way in which `text` may be written. Raises NotOpened."""
    try:
        raw = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raw = b""
    if len(raw) != size or _text(raw) != text:
        raise NotOpened("its header was changed")
    return raw


def _raw_key(key: str) -> bytes:
    """The 32 bytes of a key as `pyrage` writes it: Bech32, whose checksum it has seen to."""
    number = 0
    for letter in key.lower().rpartition("1")[2][:-6]:
        number = number << 5 | _BECH32.index(letter)
    return (number >> 4).to_bytes(32, "big")
