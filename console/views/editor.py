"""The editor: YAML is checked by a dry run, compared, applied, and merged after a conflict."""

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from clusters.manifest_text import (
    Document,
    Problem,
    comparison_text,
    documents,
    editable_object,
    has_same_content,
    problems_of_refusal,
    restore_hidden_fields,
)
from clusters.manifests import Object, to_yaml
from clusters.schema_check import schema_problems
from console.api_client import ApiRefusal, call
from console.editing.merge import merge
from console.json_views import json_body, json_response, json_view
from console.locations import Location
from console.page import (
    allow_style_attributes,
    object_view,
    render_page,
    require_sign_in,
)
from console.views import objects
from core.errors import Invalid

CONFLICT = 409
INVALID_CODES = frozenset({1001, 1007, 1008})
MAX_DOCUMENTS = 50
# Attempts at a write that only a controller's own writes interrupt.
WRITE_ATTEMPTS = 4


# --- an existing object -----------------------------------------------------------------------
@require_GET
@require_sign_in
@object_view
def edit(request: HttpRequest, location: Location) -> HttpResponse:
    """The page with the object's YAML."""
    context = objects.head_context(request, location, "yaml")
    text = to_yaml(editable_object(context["item"]))
    config = {
        "text": text,
        "check": f"{location.address}/edit/check",
        "apply": f"{location.address}/edit/apply",
        "back": location.address,
    }
    context["config"] = {
        **config,
        "lint": f"/clusters/{location.cluster}/-/lint",
        "texts": editor_texts(),
        # The script sends it back, so that a concurrent change is noticed.
        "live": _resource_version(context["item"]),
    }
    return allow_style_attributes(render_page(request, "console/edit.html", context))


def _resource_version(item: Object) -> str:
    return str((item.get("metadata") or {}).get("resourceVersion") or "")


@require_POST
@json_view
@object_view
def check(request: HttpRequest, location: Location) -> HttpResponse:
    """Try the text by a server-side dry run: {"problems": […]} or {"before", "after"}.

    {"conflict": {…}} when another user changed the object since the text was taken from it.
    """
    return _write_object(request, location, dry=True)


@require_POST
@json_view
@object_view
def apply(request: HttpRequest, location: Location) -> HttpResponse:
    """Write the text; {"address"} when that is done, else as `check`."""
    return _write_object(request, location, dry=False)


def _write_object(
    request: HttpRequest,
    location: Location,
    *,
    dry: bool,
) -> HttpResponse:
    # First the permission to read the object: without it the text is not even parsed.
    live: Object = call(request, "GET", location.path, query=location.query).data
    submitted = json_body(request)
    parsed = read_documents(str(submitted.get("text") or ""), most=1)
    if problem := _count_problem(parsed):
        return _problems_response([problem])
    document = parsed[0]
    if document.obj is None or document.problems:
        return _problems_response(document.problems)
    base = str(submitted.get("base") or "")
    version = str(submitted.get("version") or "")
    for attempt in range(1, WRITE_ATTEMPTS + 1):
        if attempt > 1:
            # The attempt before was overtaken: the newest version is the one to change.
            live = call(request, "GET", location.path, query=location.query).data
        edited = document.obj
        if _resource_version(live) != version:
            before = _first_object(base)
            if not has_same_content(before, live):
                return _conflict_response(request, location, edited, live, before)
            # Only controllers wrote since: the person's change is applied on top of theirs.
            schema = _read_schema(request, location.cluster, live)
            edited, _clashes = merge(before, edited, editable_object(live), schema)
        metadata = {**(edited.get("metadata") or {}), "resourceVersion": _resource_version(live)}
        content = restore_hidden_fields({**edited, "metadata": metadata}, live)
        # Strict, as kubectl: an unknown or duplicate field is an error and not dropped in silence.
        body = {**location.query, "content": content, "dry_run": dry, "field_validation": "Strict"}
        try:
            written = call(request, "PUT", location.path, body=body).data
            break
        except ApiRefusal as refusal:
            # A controller may have written its status between the read and the write.
            overtaken = refusal.details.get("status") == CONFLICT
            if not overtaken or attempt == WRITE_ATTEMPTS:
                return _refusal_response(request, location, document, refusal, base)
    if dry:
        return json_response({"before": comparison_text(live), "after": comparison_text(written)})
    messages.success(request, _("{name} was changed.").format(name=location.name))
    return json_response({"address": location.address})


def read_documents(text: str, *, most: int) -> list[Document]:
    """The documents of a text, at most one more than `most`; ApiRefusal when it is too large."""
    try:
        return documents(text, most=most)
    except Invalid as error:
        raise ApiRefusal(1001, error.message, {}, 400) from None


def _count_problem(parsed: list[Document]) -> Problem | None:
    if len(parsed) == 1:
        return None
    if not parsed:
        return Problem(0, 0, 0, _("The text is empty."))
    return Problem(
        parsed[1].before + 1,
        0,
        3,
        _("One object at a time here; the page “Create” takes several."),
    )


def _problems_response(
    problems: tuple[Problem, ...] | list[Problem],
) -> HttpResponse:
    return json_response({"problems": [problem.as_json() for problem in problems]})


def _refusal_response(
    request: HttpRequest,
    location: Location,
    document: Document,
    refusal: ApiRefusal,
    base: str,
) -> HttpResponse:
    """Problems at their lines for an invalid text, a conflict for an outdated one.

    Any other refusal is raised again.
    """
    if refusal.details.get("status") == CONFLICT and document.obj is not None:
        live = call(request, "GET", location.path, query=location.query).data
        return _conflict_response(request, location, document.obj, live, _first_object(base))
    if refusal.code not in INVALID_CODES:
        raise refusal
    return _problems_response(problems_of_refusal(document, refusal.message, refusal.details))


def _first_object(text: str) -> Object:
    """The first object of a text, {} when there is none."""
    return next(
        (document.obj for document in read_documents(text, most=1) if document.obj is not None), {}
    )


def _conflict_response(
    request: HttpRequest,
    location: Location,
    mine: Object,
    live: Object,
    before: Object,
) -> HttpResponse:
    """The other user's version, and the text with both changes as far as they merge."""
    theirs = editable_object(live)
    merged, clashes = merge(before, mine, theirs, _read_schema(request, location.cluster, live))
    both = {
        **merged,
        "metadata": {**(merged.get("metadata") or {}), "resourceVersion": _resource_version(live)},
    }
    clashes = [
        path for path in clashes if path not in ("metadata.resourceVersion", "metadata.generation")
    ]
    conflict = {
        "version": _resource_version(live),
        "theirs": to_yaml(theirs),
        "merged": to_yaml(both),
        "clashes": clashes,
        "before": comparison_text(before),
        "after": comparison_text(theirs),
    }
    return json_response({"conflict": conflict})


@require_POST
@json_view
def lint(request: HttpRequest, cluster: int) -> HttpResponse:
    """{"problems": […]} of a text while it is typed: YAML syntax and the cluster's schemas."""
    call(request, "GET", f"clusters/{cluster}")
    parsed = read_documents(str(json_body(request).get("text") or ""), most=MAX_DOCUMENTS)
    problems = [
        problem
        for document in parsed[:MAX_DOCUMENTS]
        for problem in (document.problems or _schema_problems(request, cluster, document))
    ]
    return _problems_response(problems)


def _schema_problems(
    request: HttpRequest,
    cluster: int,
    document: Document,
) -> list[Problem]:
    """Where a document violates the schema of its kind; [] for a kind without schema."""
    schema = _read_schema(request, cluster, document.obj or {})
    return schema_problems(document, schema) if schema else []


def _read_schema(
    request: HttpRequest,
    cluster: int,
    item: Object,
) -> Mapping[str, Any]:
    """The cluster's schema of an object's kind; {} for a kind that it does not describe."""
    query = {
        "cluster_id": cluster,
        "api_version": item.get("apiVersion"),
        "kind": item.get("kind"),
    }
    try:
        schema: Mapping[str, Any] = call(request, "GET", "schemas", query=query).data
    except ApiRefusal as refusal:
        if refusal.code in (1001, 1004):
            return {}
        raise
    return schema


def editor_texts() -> dict[str, str]:
    """What the editor's scripts say."""
    return {
        "checking": _("Checking with the cluster…"),
        "fine": _("The cluster accepts this."),
        "unchanged": _("The cluster accepts this; nothing would change."),
        "problems": _("There is something to correct."),
        "one_problem": _("Line {line}: {message}"),
        "applying": _("Applying…"),
        "conflict": _("Somebody else changed it meanwhile. Nothing was written."),
        "clash": _("Both of you changed {paths}: the editor has your values there. Review them."),
        "merged": _("Both changes are together in the editor now. Check and apply again."),
        "newest": _("This is the newest version; your own changes were dropped."),
        "partly": _("These were created before that: {names}"),
        "leave": _("The changes are not applied yet."),
        "marked": _("Marked fields have to be corrected."),
        "editor": _("YAML"),
        "collapsed": _("$ unchanged lines"),
        "before": _("As it is"),
        "after": _("As it would be"),
    }
