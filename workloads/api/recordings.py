"""Recordings of terminals: the list with its search, one of them, its replay."""

from dataclasses import asdict
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from rest_framework.request import Request

from clusters.kinds import KINDS, Kind
from core.api.auth import AccessAttributes, authorise, stream_policy
from core.api.dialect import DialectView, Page
from core.api.pagination import PageRequest, page_request
from core.api.parsing import moment, search_text
from core.api.schema import (
    BOOLEAN,
    CLUSTER,
    INTEGER,
    NAMESPACE,
    NUMBER,
    OBJECT,
    PAGING,
    TEXT,
    OperationSchema,
    QueryParameter,
    array,
    nullable,
    record,
    with_title,
)
from core.errors import Forbidden, NotFound
from core.stream_limits import StreamSlot
from workloads.api.objects import ObjectView
from workloads.api.request_target import RequestTarget
from workloads.models import Recording
from workloads.streams import recordings
from workloads.streams.exec import is_node_terminal
from workloads.streams.recording_search import search_output
from workloads.streams.recordings import RecordingFilter

PODS = KINDS["pods"]
RECORDING_TEXTS = (
    "session",
    "username",
    "namespace",
    "pod",
    "container",
    "node",
    "started_at",
)
RECORDING = with_title(
    "TerminalRecording",
    record(
        required=(*RECORDING_TEXTS, "id", "cluster_id", "finished_at", "truncated"),
        **dict.fromkeys(RECORDING_TEXTS, TEXT),
        **dict.fromkeys(("id", "cluster_id", "width", "height", "size"), INTEGER),
        finished_at=nullable(TEXT),
        truncated=BOOLEAN,
        matches=array(record(time=NUMBER, text=TEXT)),
    ),
)


class RecordingList(ObjectView):
    """GET /terminal-recordings: of one cluster, newest first."""

    kind: ClassVar[Kind] = PODS
    operations = {
        "get": OperationSchema(
            "Recordings of terminals",
            RECORDING,
            (
                CLUSTER,
                NAMESPACE,
                QueryParameter("user", TEXT),
                QueryParameter("name", TEXT, description="A part of the pod's or the node's name."),
                QueryParameter("container", TEXT),
                QueryParameter("since", TEXT, description="Begun then or later: RFC 3339."),
                QueryParameter("until", TEXT, description="Begun before: RFC 3339."),
                QueryParameter(
                    "text",
                    TEXT,
                    description="Only where this was printed, in either case; "
                    "the answer's `search` says whether all recordings were read.",
                ),
                *PAGING[:2],
            ),
            paged=True,
        )
    }

    def get(self, request: Request) -> Any:
        """One page; with `text` each item has `matches`, [{"time","text"}]."""
        target = RequestTarget(self, request)
        authorise(
            self,
            request,
            AccessAttributes("exec", "pods", "", target.cluster_text, target.namespace),
        )
        target.check()
        page = page_request(request.query_params)
        rows = recordings.list_recordings(
            cluster=target.cluster(),
            namespaces=frozenset({target.namespace}) if target.namespace else None,
            nodes=self._may_see_nodes(request, target.cluster_text),
            matching=_recording_filter(request),
        )
        if text := search_text(request.query_params, "text"):
            return _search_page(rows, text, page=page, user=int(request.user.pk or 0))
        page_rows = rows[page.offset : page.offset + page.size]
        items = [recordings.represent(row) for row in page_rows]
        return Page(items, rows.count(), page.page, page.size)

    def _may_see_nodes(self, request: Request, cluster: str) -> bool:
        """Whether recordings of shells on nodes are shown too."""
        policy = stream_policy()
        act = AccessAttributes("exec", "nodes", "", cluster)
        return policy.scopes(policy.credential(request), [act]) != [None]


def _recording_filter(request: Request) -> RecordingFilter:
    """The filter of the query; Invalid for what cannot be one."""
    query = request.query_params
    return RecordingFilter(
        user=search_text(query, "user"),
        name=search_text(query, "name"),
        container=search_text(query, "container"),
        since=moment(query.get("since", ""), "since"),
        until=moment(query.get("until", ""), "until"),
    )


class SearchSlot(StreamSlot):
    """The place of a search in recordings, among the streams of this process."""

    process_full: ClassVar[str] = (
        "this process already serves {limit} searches and streams: try again later"
    )
    caller_full: ClassVar[str] = (
        "{limit} of your searches and streams are open here: try again when one has ended"
    )


def _search_page(
    rows: QuerySet[Recording],
    text: str,
    *,
    page: PageRequest,
    user: int,
) -> Page:
    """The page of recordings in which the text was printed."""
    # Reading many recordings takes long: it counts as a stream, so that others have threads too.
    place = SearchSlot(f"user {user}")
    try:
        result = search_output(rows.iterator(), text)
    finally:
        place.give_back()
    page_rows = result.rows[page.offset : page.offset + page.size]
    items = [
        {**recordings.represent(row), "matches": [asdict(match) for match in matches]}
        for row, matches in page_rows
    ]
    summary = {
        "complete": result.complete,
        "recordings": result.recordings,
        "bytes": result.scanned_bytes,
    }
    return Page(items, len(result.rows), page.page, page.size, extra={"search": summary})


class RecordingDetail(DialectView):
    """GET /terminal-recordings/{id} and /terminal-recordings/{id}/replay (asciicast v2)."""

    replay: ClassVar[bool] = False
    operations = {"get": OperationSchema("A recording, or its asciicast", OBJECT)}

    def get(self, request: Request, pk: str) -> Any:
        """The recording, or its replay.

        NotFound where the caller may open no terminal, for the caller's own recordings too.
        """
        row = recordings.find(pk)
        try:
            authorise(self, request, _terminal_act(row))
        except Forbidden:
            # Forbidden would tell that the recording exists.
            raise NotFound(f"recording {pk[:60]!r} does not exist") from None
        if not self.replay:
            return recordings.represent(row)
        response = StreamingHttpResponse(
            recordings.asciicast(row),
            content_type="application/x-asciicast",
        )
        response["Content-Disposition"] = f'attachment; filename="terminal-{row.pk}.cast"'
        return response


def _terminal_act(row: Recording) -> AccessAttributes:
    """The right to open the terminal that was recorded."""
    cluster = str(row.cluster_id)
    if row.node or is_node_terminal(row.namespace, row.pod):
        return AccessAttributes("exec", "nodes", "", cluster, "", row.node)
    return AccessAttributes("exec", "pods", "", cluster, row.namespace, row.pod)
