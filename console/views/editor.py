"""The editor: an object's YAML checked by the cluster without being written, compared, applied, and brought together after a conflict."""

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_POST

from clusters.kinds import KINDS
from clusters.manifests import Object, to_yaml
from console.api_client import Refused, call
from console.editing.merge import merge
from console.editing.positions import (
    Document,
    Problem,
    comparable,
    complaints,
    documents,
    editable,
    same_content,
    spot,
    whole,
)
from console.editing.schema_check import faults
from console.editing.starters import BLUEPRINTS
from console.json_views import answered, for_scripts, sent
from console.locations import Place, at, collection
from console.page import page, signed_in, with_styles
from console.views import objects
from core.errors import Invalid

CONFLICT, INVALID_CODES = 409, frozenset({1001, 1007, 1008})
MOST_DOCUMENTS = 50
# How often a write is tried again when only a controller's bookkeeping came in between.
WRITE_ATTEMPTS = 4


# --- an object that is there ------------------------------------------------------------------------------------------
@require_GET
@signed_in
def edit(
    request: HttpRequest, cluster: int, plural: str, namespace: str, name: str
) -> HttpResponse:
    """The page with the object's YAML."""
    place = at(cluster, plural, namespace, name)
    context = objects.frame(request, place, "yaml")
    text = to_yaml(editable(context["item"]))
    config = {
        "text": text,
        "check": f"{place.address}/edit/check",
        "apply": f"{place.address}/edit/apply",
        "back": place.address,
    }
    context["config"] = {
        **config,
        "lint": f"/clusters/{cluster}/-/lint",
        "texts": _texts(),
        "live": _version(context["item"]),
    }
    return with_styles(page(request, "console/edit.html", context))


def _version(item: Object) -> str:
    return str((item.get("metadata") or {}).get("resourceVersion") or "")


@require_POST
@for_scripts
def check(
    request: HttpRequest, cluster: int, plural: str, namespace: str, name: str
) -> HttpResponse:
    """{"problems": […]} or {"before", "after"}: what the cluster would make of the text, tried there without being written.

    {"conflict": {…}} when somebody else changed the object since the text was taken from it.
    """
    return _tried(request, at(cluster, plural, namespace, name), dry=True)


@require_POST
@for_scripts
def apply(
    request: HttpRequest, cluster: int, plural: str, namespace: str, name: str
) -> HttpResponse:
    """Write the text; {"address"} when that is done, else as `check`."""
    return _tried(request, at(cluster, plural, namespace, name), dry=False)


def _tried(request: HttpRequest, place: Place, *, dry: bool) -> HttpResponse:
    # Whoever may not read the object has no text of theirs read either.
    live: Object = call(request, "GET", place.path, query=place.query).data
    given = sent(request)
    found = _documents(str(given.get("text") or ""), most=1)
    if problem := _one(found):
        return _problems([problem])
    document = found[0]
    if document.obj is None or document.problems:
        return _problems(document.problems)
    base = str(given.get("base") or "")
    version = str(given.get("version") or "")
    for attempt in range(1, WRITE_ATTEMPTS + 1):
        if attempt > 1:
            live = call(request, "GET", place.path, query=place.query).data
        edited = document.obj
        if _version(live) != version:
            before = _first_object(base)
            if not same_content(before, live):
                return _conflict(before, edited, live)
            # Only controllers wrote since: their bookkeeping stays, the person's change goes on top.
            edited, _clashes = merge(before, edited, editable(live))
        metadata = {**(edited.get("metadata") or {}), "resourceVersion": _version(live)}
        content = whole({**edited, "metadata": metadata}, live)
        body = {**place.query, "content": content, "dry_run": dry, "field_validation": "Strict"}
        try:
            made = call(request, "PUT", place.path, body=body).data
            break
        except Refused as refused:
            # A controller may have written its status between the read and the write.
            overtaken = refused.details.get("status") == CONFLICT
            if not overtaken or attempt == WRITE_ATTEMPTS:
                return _refused(request, place, document, refused, base)
    if dry:
        return answered({"before": comparable(live), "after": comparable(made)})
    messages.success(request, _("{name} was changed.").format(name=place.name))
    return answered({"address": place.address})


def _documents(text: str, *, most: int) -> list[Document]:
    try:
        return documents(text, most=most)
    except Invalid as error:
        raise Refused(1001, error.message, {}, 400) from None


def _one(found: list[Document]) -> Problem | None:
    if len(found) == 1:
        return None
    if not found:
        return Problem(0, 0, 0, _("There is nothing here."))
    return Problem(
        found[1].before + 1, 0, 3, _("One object at a time here; the page “Create” takes several.")
    )


def _problems(found: tuple[Problem, ...] | list[Problem]) -> HttpResponse:
    return answered({"problems": [one.shown() for one in found]})


def _refused(
    request: HttpRequest, place: Place, document: Document, refused: Refused, base: str
) -> HttpResponse:
    """Problems with lines where the text is at fault; a conflict when it was overtaken meanwhile; else as every refusal."""
    if refused.details.get("status") == CONFLICT and document.obj is not None:
        live = call(request, "GET", place.path, query=place.query).data
        return _conflict(_first_object(base), document.obj, live)
    if refused.code not in INVALID_CODES:
        raise refused
    return _problems(complaints(document, refused.message, refused.details))


def _first_object(text: str) -> Object:
    """The first object of a text, {} when there is none."""
    return next(
        (document.obj for document in _documents(text, most=1) if document.obj is not None), {}
    )


def _conflict(before: Object, mine: Object, live: Object) -> HttpResponse:
    """What somebody else made of it, and the text with both changes as far as they go together."""
    theirs = editable(live)
    merged, clashes = merge(before, mine, theirs)
    both = {
        **merged,
        "metadata": {**(merged.get("metadata") or {}), "resourceVersion": _version(live)},
    }
    clashes = [
        path for path in clashes if path not in ("metadata.resourceVersion", "metadata.generation")
    ]
    conflict = {
        "version": _version(live),
        "theirs": to_yaml(theirs),
        "merged": to_yaml(both),
        "clashes": clashes,
        "before": comparable(before),
        "after": comparable(theirs),
    }
    return answered({"conflict": conflict})


@require_POST
@for_scripts
def lint(request: HttpRequest, cluster: int) -> HttpResponse:
    """{"problems": […]} of a text while it is written, by YAML's rules and the cluster's own schemas; nothing is tried there."""
    call(request, "GET", f"clusters/{cluster}")
    found = _documents(str(sent(request).get("text") or ""), most=MOST_DOCUMENTS)
    problems = [
        one
        for document in found[:MOST_DOCUMENTS]
        for one in (document.problems or _unfitting(request, cluster, document))
    ]
    return _problems(problems)


def _unfitting(request: HttpRequest, cluster: int, document: Document) -> list[Problem]:
    """Where a document does not fit the schema of its kind; nothing when the cluster describes no such kind."""
    obj = document.obj or {}
    query = {"cluster_id": cluster, "api_version": obj.get("apiVersion"), "kind": obj.get("kind")}
    try:
        schema = call(request, "GET", "schemas", query=query).data
    except Refused as refused:
        if refused.code in (1001, 1004):
            return []
        raise
    return [Problem(*spot(document, fault.path), fault.message) for fault in faults(obj, schema)]


# --- new objects --------------------------------------------------------------------------------------------------------
@require_GET
@signed_in
def create(request: HttpRequest, cluster: int) -> HttpResponse:
    """The page for new objects, with a text to begin with for the kinds that people make most."""
    kind, namespace = request.GET.get("kind", ""), request.GET.get("namespace", "") or "default"
    known = {plural: make(namespace) for plural, make in BLUEPRINTS.items()}
    text = known.get(kind) or _empty(kind, namespace)
    base = f"/clusters/{cluster}"
    config = {
        "text": text,
        "check": f"{base}/-/create/check",
        "apply": f"{base}/-/create/apply",
        "texts": _texts(),
        "blueprints": known,
    }
    config["lint"] = f"{base}/-/lint"
    context = {
        "cluster_id": cluster,
        "blueprints": [(plural, KINDS[plural].name) for plural in known],
        "chosen": kind if kind in known else "",
        "config": config,
        "title": _("Create"),
    }
    return with_styles(page(request, "console/create.html", context))


def _empty(plural: str, namespace: str) -> str:
    kind = KINDS.get(plural)
    if kind is None:
        return ""
    place = {"name": "", **({"namespace": namespace} if kind.namespaced else {})}
    return to_yaml({"apiVersion": kind.api_version, "kind": kind.name, "metadata": place})


@require_POST
@for_scripts
def check_new(request: HttpRequest, cluster: int) -> HttpResponse:
    """{"problems": […]} or {"before": "", "after"}: what the cluster would make of each document."""
    return _made(request, cluster, dry=True)


@require_POST
@for_scripts
def apply_new(request: HttpRequest, cluster: int) -> HttpResponse:
    """Create them in their order: {"address"}. At the first refusal {"problems", "made"}: what was made before stays, and is named."""
    return _made(request, cluster, dry=False)


def _made(request: HttpRequest, cluster: int, *, dry: bool) -> HttpResponse:
    call(request, "GET", f"clusters/{cluster}")
    found = _documents(str(sent(request).get("text") or ""), most=MOST_DOCUMENTS)
    if problems := _unreadable(found):
        return _problems(problems)
    made: list[tuple[Place, Object]] = []
    for document in found:
        try:
            made.append(_make(request, cluster, document, dry=dry))
        except Refused as refused:
            if refused.code not in (*INVALID_CODES, 1003, 1004):
                raise
            problems += complaints(document, refused.message, refused.details)
            if not dry:
                break
    names = [f"{obj.get('kind')} {obj['metadata']['name']}" for _place, obj in made]
    if problems:
        return answered(
            {"problems": [one.shown() for one in problems], "made": [] if dry else names}
        )
    if dry:
        return answered(
            {"before": "", "after": "---\n".join(comparable(obj) for _place, obj in made)}
        )
    said = ngettext("{names} was created.", "{count} objects were created: {names}", len(names))
    messages.success(request, said.format(count=len(names), names=", ".join(names)))
    return answered({"address": _address(made)})


def _unreadable(found: list[Document]) -> list[Problem]:
    """Why the text cannot be sent to the cluster at all."""
    if not found:
        return [Problem(0, 0, 0, _("There is nothing here."))]
    if len(found) > MOST_DOCUMENTS:
        return [
            Problem(0, 0, 0, _("At most {count} objects at once.").format(count=MOST_DOCUMENTS))
        ]
    return [one for document in found for one in document.problems]


def _make(
    request: HttpRequest, cluster: int, document: Document, *, dry: bool
) -> tuple[Place, Object]:
    place = _place(request, cluster, document)
    body = {**place.query, "content": document.obj, "dry_run": dry, "field_validation": "Strict"}
    return place, call(request, "POST", collection(place.plural), body=body).data


def _address(made: list[tuple[Place, Object]]) -> str:
    """Where to look at what was made: the object's own page, or the table of the first one's kind."""
    place, obj = made[0]
    return (
        place.other(place.plural, obj["metadata"]["name"]).address
        if len(made) == 1
        else place.table
    )


def _place(request: HttpRequest, cluster: int, document: Document) -> Place:
    """Where a document's object will be, by its apiVersion and kind."""
    obj: Mapping[str, Any] = document.obj or {}
    version, kind = str(obj.get("apiVersion") or ""), str(obj.get("kind") or "")
    if not version or not kind:
        cause = {"field": "kind" if version else "apiVersion", "message": _("is required")}
        raise Refused(
            1001, _("apiVersion and kind are required."), {"details": {"causes": [cause]}}, 400
        )
    metadata = obj.get("metadata") if isinstance(obj.get("metadata"), Mapping) else {}
    namespace = str((metadata or {}).get("namespace") or "")
    for known in KINDS.values():
        if (known.name, known.api_version) == (kind, version):
            return Place(
                cluster, known.plural, (namespace or "default") if known.namespaced else "", ""
            )
    return _custom(request, cluster, version, kind, namespace)


def _custom(request: HttpRequest, cluster: int, version: str, kind: str, namespace: str) -> Place:
    """The place of a custom kind, out of the cluster's definitions."""
    group, _slash, number = version.partition("/")
    query = {"cluster_id": cluster, "keyword": group, "pageSize": 500}
    for one in call(request, "GET", "customresourcedefinitions", query=query).data["items"]:
        spec = one.get("spec") or {}
        names = spec.get("names") or {}
        if spec.get("group") == group and names.get("kind") == kind:
            inside = (namespace or "default") if spec.get("scope") == "Namespaced" else ""
            return Place(cluster, f"{names.get('plural')}.{number}.{group}", inside, "")
    cause = {
        "field": "kind",
        "message": _("this cluster has no {kind} of {version}").format(kind=kind, version=version),
    }
    raise Refused(1001, cause["message"], {"details": {"causes": [cause]}}, 400)


def _texts() -> dict[str, str]:
    """What the script says."""
    return {
        "checking": _("The cluster is asked…"),
        "fine": _("The cluster would take this."),
        "unchanged": _("The cluster would take this, and nothing would change."),
        "problems": _("There is something to correct."),
        "one_problem": _("Line {line}: {message}"),
        "applying": _("Being written…"),
        "conflict": _("Somebody else changed it meanwhile. Nothing was written."),
        "clash": _("Both of you changed {paths}: your values were kept there, look at them."),
        "merged": _("Both changes are together in the editor now. Check and apply again."),
        "newest": _("This is the newest version; your own changes are gone."),
        "partly": _("These were created before that: {names}"),
        "leave": _("The changes are not applied yet."),
        "editor": _("YAML"),
        "collapsed": _("$ unchanged lines"),
        "before": _("As it is"),
        "after": _("As it would be"),
    }
