"""One `get` from a bucket: as a stream, which after a cut goes on from where it broke, on the same version only."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError
from urllib3.exceptions import HTTPError

from g3zkp_maint.errors import BadInput, StoreError, StoreUnavailable
from g3zkp_maint.stores.s3_bucket import Bucket, etag_of

if TYPE_CHECKING:
    from botocore.response import StreamingBody

_PIECE = 1 << 20
_CUTS_WITHOUT_PROGRESS = 4


class Reading:
    """Of `key`; opened when made. `span` is (first byte, one past the last), None for all."""

    def __init__(self, bucket: Bucket, key: str, span: tuple[int, int] | None) -> None:
        """Raises ObjectMissing, BadInput for a range outside of the object."""
        self._bucket = bucket
        self._key = key
        self._body: StreamingBody | None = None
        if span is None:
            self._etag = ""
            self._position, self._end = 0, bucket.persistently(self._open_all)
            return
        found = bucket.persistently(lambda: bucket.head(key))
        size = found["ContentLength"]
        self._etag = found["ETag"]
        self._position, self._end = span
        if not 0 <= self._position <= self._end <= size:
            raise BadInput(f"range {span[0]}-{span[1]} lies outside of {key}, which has {size} bytes")

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._pieces()
        finally:
            if self._body is not None:
                self._body.close()

    def _pieces(self) -> Iterator[bytes]:
        cuts = 0
        while self._position < self._end:
            piece = self._next_piece()
            if piece:
                cuts = 0
                self._position += len(piece)
                yield piece
                continue
            cuts += 1
            if cuts >= _CUTS_WITHOUT_PROGRESS:
                raise StoreUnavailable(
                    f"{self._key} in {self._bucket.place} broke off again and again at byte {self._position} "
                    f"of {self._end}; check the network and the server, then run again"
                )

    def _next_piece(self) -> bytes:
        """Nothing where the stream was cut: the next call opens it again."""
        if self._body is None:
            self._body = self._bucket.persistently(self._open_rest)
        try:
            piece: bytes = self._body.read(min(_PIECE, self._end - self._position))
        except (BotoCoreError, HTTPError, OSError):
            piece = b""
        if not piece:
            self._body.close()
            self._body = None
        return piece

    def _open_all(self) -> int:
        with self._bucket.speaking(self._key) as client:
            answer = client.get_object(Bucket=self._bucket.settings.bucket, Key=self._key)
            self._etag = etag_of(answer)
            self._body = answer["Body"]
            return answer["ContentLength"]

    def _open_rest(self) -> StreamingBody:
        arguments: dict[str, Any] = {"Bucket": self._bucket.settings.bucket, "Key": self._key, "IfMatch": self._etag}
        wanted = f"bytes={self._position}-{self._end - 1}"
        with self._bucket.speaking(self._key) as client:
            answer = client.get_object(**arguments, Range=wanted)
            body: StreamingBody = answer["Body"]
            is_part = answer["ResponseMetadata"]["HTTPStatusCode"] == HTTPStatus.PARTIAL_CONTENT
            if is_part and answer["ContentRange"].startswith(f"bytes {self._position}-{self._end - 1}/"):
                return body
        body.close()
        raise StoreError(
            f"{self._bucket.place} did not answer with {wanted} of {self._key}; the store needs a server that does"
        )
