"""The body of a cluster's answer: passed on as it comes, after a look at one that is short."""

from collections.abc import AsyncIterator

from clusters.raw_connections import RawConnection
from gateway.sessions import READ_BYTES, ClientLeft
from gateway.wire import BadMessage, ChunkedBody, WireAnswer


class AnswerBody:
    """The data of one answer, without the marks of chunks. ClientLeft when it is cut off."""

    def __init__(self, connection: RawConnection, answer: WireAnswer) -> None:
        self._answer = answer
        self._rest = _decoded(connection, answer)
        self._start: list[bytes] = []

    def is_plain_json(self) -> bool:
        """Whether it is JSON that nobody has compressed, and has an end."""
        headers = dict(self._answer.headers)
        is_json = headers.get("content-type", "").startswith("application/json")
        encoding = headers.get("content-encoding", "identity")
        return is_json and encoding == "identity" and self._answer.length != -1

    async def read_short(self, limit: int) -> bytes:
        """The whole body, which `parts` will give once more; b"" when it has more bytes."""
        size = 0
        async for data in self._rest:
            self._start.append(data)
            size += len(data)
            if size > limit:
                return b""
        return b"".join(self._start)

    async def parts(self) -> AsyncIterator[bytes]:
        """All of the data, piece by piece."""
        for data in self._start:
            yield data
        async for data in self._rest:
            yield data


async def _decoded(connection: RawConnection, answer: WireAnswer) -> AsyncIterator[bytes]:
    reader = connection.reader
    if answer.length == -1:
        while data := await reader.read(READ_BYTES):
            yield data
        return
    if answer.length is not None:
        left = answer.length
        while left:
            data = await reader.read(min(left, READ_BYTES))
            if not data:
                # A client sees from the missing bytes that the answer was cut.
                raise ClientLeft
            left -= len(data)
            yield data
        return
    decoder = ChunkedBody()
    while not decoder.done:
        raw = await reader.read(READ_BYTES)
        if not raw:
            raise ClientLeft
        try:
            yield decoder.feed(raw)
        except BadMessage:
            raise ClientLeft from None
    if decoder.has_more:
        # More than the answer came: the connection is not used again.
        answer.reusable = False
