"""One `put` into a bucket: a small object by one request, a larger one by parts.

Parts go up in parallel; memory is the parts that are on their way and the one being filled. The SHA-256 of the whole is
computed on the way, once; each part carries a checksum that the server verifies.

After a failure the upload is aborted, so that no parts stay and cost money. With one exception: when the answer to the
completion is lost and it cannot be found out what became of it, or the caller is broken off while it waits for it, the
server may still be at it, and some servers would then delete the parts of the finished object. Such an upload is left
to `sweep`.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

import structlog

from g3zkp_maint.errors import ObjectMissing, StoreError, StoreUnavailable
from g3zkp_maint.stores.base import Chunk, Stored
from g3zkp_maint.stores.s3_bucket import WRITER, Bucket, etag_of
from g3zkp_maint.stores.s3_claim import Claim, Undecided, abort

_log = structlog.get_logger(__name__)

#: A part as the completion names it: number, ETag, checksum.
_Sent: TypeAlias = dict[str, Any]

#: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
_MOST_PARTS = 10_000


class Parts:
    """The chunks as parts of `part_bytes`, the last one shorter; at least one. Counts and digests on the way. A part that
    was sent may be given back, to be filled again: memory that is new costs as much as the copying into it."""

    def __init__(self, chunks: Iterable[Chunk], part_bytes: int) -> None:
        self._chunks = chunks
        self._part_bytes = part_bytes
        self._digest = hashlib.sha256()
        self._size = 0
        self._spare: deque[bytearray] = deque()

    def __iter__(self) -> Iterator[bytearray]:
        part, filled = bytearray(), 0
        for chunk in self._chunks:
            view = memoryview(chunk).cast("B")
            self._digest.update(view)
            self._size += len(view)
            while filled + len(view) > self._part_bytes:
                room = self._part_bytes - filled
                part[filled:] = view[:room]
                view = view[room:]
                yield part
                # At its whole size from here on: one that grows is moved, and moved again. The first may stay the only one.
                part, filled = self._spare.pop() if self._spare else bytearray(self._part_bytes), 0
            part[filled : filled + len(view)] = view
            filled += len(view)
        del part[filled:]
        yield part

    def give_back(self, part: bytearray) -> None:
        """Nobody looks at it any more. From any thread."""
        if len(part) == self._part_bytes:
            self._spare.append(part)

    def stored(self) -> Stored:
        return Stored(self._size, self._digest.hexdigest())


@dataclass(frozen=True)
class Upload:
    """Of one object. `run` once."""

    bucket: Bucket
    key: str
    if_absent: bool

    def run(self, chunks: Iterable[Chunk]) -> Stored:
        """See Store.put."""
        parts = Parts(chunks, self.bucket.settings.part_bytes)
        source = iter(parts)
        first = deque(islice(source, 2))
        if len(first) == 1:
            stored = parts.stored()
            self.bucket.put_whole(
                self.key, first.pop(), digest=stored.digest, if_absent=self.if_absent, **self.bucket.protection()
            )
        else:
            _Multipart(self.bucket, self.key, self.if_absent, parts.give_back).run(_drained(first, source))
        return parts.stored()


def _drained(first: deque[bytearray], rest: Iterator[bytearray]) -> Iterator[bytearray]:
    """Both, one after the other, without keeping what was handed out."""
    while first:
        yield first.popleft()
    yield from rest


class _Multipart:
    """An upload by parts; `give_back` takes each part that is through."""

    def __init__(self, bucket: Bucket, key: str, if_absent: bool, give_back: Callable[[bytearray], None]) -> None:
        self._bucket = bucket
        self._key = key
        self._if_absent = if_absent
        self._give_back = give_back
        self._writer = secrets.token_hex(8)
        self._target: dict[str, Any] = {"Bucket": bucket.settings.bucket, "Key": key}
        self._slots = threading.Semaphore(bucket.settings.parts_in_flight)
        self._stop = threading.Event()
        self._failure: BaseException | None = None

    def run(self, parts: Iterator[bytearray]) -> None:
        upload_id = self._bucket.persistently(self._create)
        try:
            finished = self._send(upload_id, parts)
        except BaseException:
            self._abort(upload_id)
            raise
        try:
            with self._claim(upload_id):
                self._complete(upload_id, finished)
        except Undecided:
            raise
        except StoreError:
            self._abort(upload_id)
            raise

    def _create(self) -> str:
        algorithm = self._bucket.settings.checksum
        arguments = {**self._target, **self._bucket.protection(), "Metadata": {WRITER: self._writer}}
        if algorithm != "none":
            arguments["ChecksumAlgorithm"] = algorithm.upper()
        with self._bucket.speaking(self._key) as client:
            return client.create_multipart_upload(**arguments)["UploadId"]

    def _send(self, upload_id: str, parts: Iterator[bytearray]) -> list[_Sent]:
        sent: list[Future[_Sent]] = []
        with ThreadPoolExecutor(self._bucket.settings.parts_in_flight, "s3-part") as pool:
            try:
                for part in parts:
                    self._slots.acquire()
                    if self._stop.is_set():
                        break
                    sent.append(pool.submit(self._send_part, upload_id, self._numbered(sent), part))
                    del part  # or it would be held while the next one is filled
            except BaseException:
                self._stop.set()
                raise
        if self._failure is not None:
            raise self._failure
        return [future.result() for future in sent]

    def _numbered(self, sent: list[Future[_Sent]]) -> int:
        if len(sent) < _MOST_PARTS:
            return len(sent) + 1
        raise StoreError(
            f"{self._key} is larger than {_MOST_PARTS} parts of store.s3.part_bytes={self._bucket.settings.part_bytes}; "
            "raise that setting"
        )

    def _send_part(self, upload_id: str, number: int, part: bytearray) -> _Sent:
        checksum = self._bucket.checksum(part)
        arguments = {**self._target, **checksum, "UploadId": upload_id, "PartNumber": number, "Body": part}

        def send() -> _Sent:
            with self._bucket.speaking(self._key) as client:
                etag = etag_of(client.upload_part(**arguments))
            return {"PartNumber": number, "ETag": etag, **checksum}

        try:
            sent = self._bucket.persistently(send, stop=self._stop)
        except BaseException as error:
            self._failure = self._failure or error
            self._stop.set()
            raise
        else:
            self._give_back(part)
            return sent
        finally:
            self._slots.release()

    def _claim(self, upload_id: str) -> AbstractContextManager[None]:
        if not self._if_absent or self._bucket.settings.completes_exclusively():
            return nullcontext()
        return Claim(self._bucket, self._key, upload_id).held()

    def _complete(self, upload_id: str, finished: list[_Sent]) -> None:
        arguments: dict[str, Any] = {**self._target, "UploadId": upload_id, "MultipartUpload": {"Parts": finished}}
        if self._if_absent:
            arguments["IfNoneMatch"] = "*"

        def complete() -> None:
            with self._bucket.speaking(self._key) as client:
                client.complete_multipart_upload(**arguments)

        try:
            self._bucket.landed_or_raise(self._key, self._writer, lambda: self._bucket.persistently(complete))
        except StoreUnavailable as error:
            raise Undecided(str(error)) from error
        except ObjectMissing as error:
            raise StoreUnavailable(
                f"the upload of {self._key} to {self._bucket.place} was given up by another (a sweep, a lifecycle rule "
                "or a writer that took over); run again"
            ) from error

    def _abort(self, upload_id: str) -> None:
        """No error of this may hide the one that led here."""
        try:
            abort(self._bucket, self._key, upload_id)
        except StoreError as error:
            _log.warning("store_parts_left_behind", key=self._key, error=str(error))
