"""Shapes of what goes over the wire to an API server: lists in chunks, patches, request bodies."""

from collections.abc import Mapping

import msgspec
import orjson

from core.errors import ClusterUnavailable

# Items per answer of a list, as kubectl asks for them.
CHUNK_SIZE = 500
# No cluster has a list of more chunks than this: a list that goes on is endless.
MAX_CHUNKS = 4000
# An API server may send an empty chunk that has a continue token, but not again and again.
EMPTY_CHUNKS = 3
PATCH_TYPES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
JSON_TYPE = "application/json"
QueryParameters = Mapping[str, object]


class HeadMetadata(msgspec.Struct):
    """What lists and paging need of an object's metadata."""

    name: str = ""
    namespace: str = ""


class ObjectHead(msgspec.Struct):
    """An object of which only the metadata was decoded."""

    metadata: HeadMetadata = msgspec.field(default_factory=HeadMetadata)


class ListMeta(msgspec.Struct, rename="camel"):
    """A list's metadata: its resourceVersion, and the token of its next chunk."""

    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")
    remaining_item_count: int | None = None


class Chunk(msgspec.Struct):
    """One answer to a list: items as raw bytes."""

    metadata: ListMeta = msgspec.field(default_factory=ListMeta)
    items: list[msgspec.Raw] | None = None


class ContinueTokens:
    """The continue tokens of one list, checked from chunk to chunk so that reading it ends."""

    def __init__(self) -> None:
        self._tokens: set[str] = set()
        self._empty_chunks = 0

    def next_token(self, chunk: Chunk) -> str:
        """The token to go on with, "" at the end of the list.

        ClusterUnavailable when a token comes again, or the list has too many (empty) chunks.
        """
        token = chunk.metadata.continue_
        if not token:
            return ""
        if chunk.items:
            self._empty_chunks = 0
        else:
            self._empty_chunks += 1
        is_endless = (
            token in self._tokens
            or len(self._tokens) >= MAX_CHUNKS
            or self._empty_chunks >= EMPTY_CHUNKS
        )
        if is_endless:
            raise ClusterUnavailable("the cluster's list has no end", reason="bad_answer")
        self._tokens.add(token)
        return token


CHUNK_DECODER = msgspec.json.Decoder(Chunk)
HEAD_DECODER = msgspec.json.Decoder(ObjectHead)


def encode_body(body: object) -> bytes:
    """JSON bytes of a request body; bytes are sent as they are."""
    if isinstance(body, bytes):
        return body
    return orjson.dumps(body)
