"""Create, update, patch and delete by the API server's rules, for HTTP and controllers."""

import copy
import random
import uuid
from typing import Any

from simcluster import (
    admission,
    clock,
    conversion,
    decoding,
    defaults,
    deletion,
    managedfields,
    patching,
    schema,
    strategy,
)
from simcluster.errors import (
    ApiError,
    already_exists,
    bad_request,
    conflict,
    invalid,
    not_found,
    stale,
    unsupported_media_type,
)
from simcluster.objects import is_terminating
from simcluster.resources import Object, Resource, ResourceTable
from simcluster.store import Record, Store
from simcluster.validation import Cause, custom, ephemeral, validate, validate_update
from simcluster.write_options import WriteOptions

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_META_ORDER = (
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
)


def random_suffix(length: int = 5) -> str:
    """The random end of a generated name."""
    return "".join(random.choices(_ALPHABET, k=length))


def _ordered(obj: Object) -> Object:
    meta = obj["metadata"]
    ordered = {
        key: meta[key] for key in _META_ORDER if key in meta and meta[key] not in ("", None, {}, [])
    }
    rest = {
        key: value
        for key, value in obj.items()
        if key not in ("kind", "apiVersion", "metadata", "status")
    }
    status = {"status": obj["status"]} if "status" in obj else {}
    return {
        "kind": obj["kind"],
        "apiVersion": obj["apiVersion"],
        "metadata": ordered,
        **rest,
        **status,
    }


class Registry:
    """Objects by the rules, over the store."""

    def __init__(self, store: Store, table: ResourceTable, time: clock.Clock) -> None:
        self.store = store
        self.table = table
        self.clock = time
        self.custom_types: dict[tuple[str, str, str], schema.Node] = {}

    def type_of(self, resource: Resource) -> schema.Node:
        """The schema of a kind."""
        if resource.custom:
            return self.custom_types.get(
                (resource.group, resource.version, resource.plural), schema.ANY
            )
        return schema.built_in(resource)

    def record(self, resource: Resource, namespace: str, name: str) -> Record:
        """One stored record; 404 when it is not there."""
        record = self.store.get(resource.storage, namespace, name)
        if record is None:
            raise not_found(resource, name)
        return record

    def read(self, resource: Resource, namespace: str, name: str) -> Object:
        """One object in the asked version; 404 when it is not there."""
        return conversion.from_storage(resource, self.record(resource, namespace, name).obj)

    def create(
        self,
        resource: Resource,
        namespace: str,
        obj: Object,
        options: WriteOptions,
    ) -> Object:
        """Create an object; 400, 403, 404, 409 or 422 as the API server says."""
        # Order as in the API server: decoding and names (400), defaults, validation (422),
        # admission (403), and the conflict with an existing object (409) at last.
        obj = self._decoded(resource, obj, options)
        meta = obj["metadata"]
        self._check_namespace(resource, meta, namespace)
        if meta.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = self._generated(resource, namespace, meta["generateName"])
        # What only the server writes is dropped in silence, not refused.
        for key in (
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
            "managedFields",
            "selfLink",
        ):
            meta.pop(key, None)
        meta["uid"] = str(uuid.uuid4())
        meta["creationTimestamp"] = clock.timestamp()
        strategy.convert_input(resource, obj)
        defaults.apply(resource, obj)
        return self._insert(resource, obj, options, applied=False)

    def _insert(
        self,
        resource: Resource,
        obj: Object,
        options: WriteOptions,
        *,
        applied: bool,
    ) -> Object:
        name = obj["metadata"].get("name", "")
        if (
            resource.namespaced
            and self.store.get("namespaces", "", obj["metadata"]["namespace"]) is None
        ):
            # NamespaceLifecycle admits before validation: a missing namespace is reported first.
            admission.check_namespace(resource, obj, self.store, self.table)
        # An apply has computed its own claims; every other write claims what it changed.
        if not applied:
            managedfields.record_update(
                None, obj, self.type_of(resource), self._entry(resource, options)
            )
        strategy.prepare_create(resource, obj, self.store) if name else None
        validate(resource, obj, self.type_of(resource).document)
        admission.admit(resource, obj, self.store, self.table)
        if self.store.get(resource.storage, obj["metadata"].get("namespace", ""), name) is not None:
            raise already_exists(resource, name)
        return self._put(resource, obj, options)

    def replace(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        obj: Object,
        options: WriteOptions,
    ) -> Object:
        """Update an object with a whole new state; 409 when it was made from an older one."""
        old = self.read(resource, namespace, name)
        obj = self._decoded(resource, obj, options)
        body_name = obj["metadata"].get("name", "")
        if body_name != name:
            raise bad_request(
                f"the name of the object ({body_name}) does not match the name on the URL ({name})"
                if body_name
                else "name must be provided"
            )
        self._check_namespace(resource, obj["metadata"], namespace)
        # Built-in kinds allow an update without a version (the last write wins), custom ones do
        # not.
        if resource.custom and not obj["metadata"].get("resourceVersion"):
            cause = Cause(
                "FieldValueInvalid",
                "Invalid value: 0: must be specified for an update",
                "metadata.resourceVersion",
            )
            raise invalid(resource.kind, name, [cause], group=resource.group)
        return self.rewrite(resource, old, obj, options)

    def rewrite(
        self,
        resource: Resource,
        old: Object,
        obj: Object,
        options: WriteOptions,
        *,
        applied: bool = False,
    ) -> Object:
        """Write a changed state of an object that was read before."""
        meta = obj["metadata"]
        before = old["metadata"]
        self._check_unchanged_identity(resource, meta, before)
        # Identity and deletion cannot be changed by a write.
        for key in (
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
            "generateName",
        ):
            if key in before:
                meta[key] = before[key]
            else:
                meta.pop(key, None)
        meta["resourceVersion"] = before["resourceVersion"]
        strategy.convert_input(resource, obj)
        if options.subresource == "status":
            obj = {
                **old,
                # The status subresource ignores everything but the status.
                "metadata": {**meta, "labels": before.get("labels")},
                "status": obj.get("status", {}),
            }
        else:
            if options.subresource == ephemeral.SUBRESOURCE:
                obj = ephemeral.restricted_to_containers(obj, old)
                meta = obj["metadata"]
            defaults.apply(resource, obj)
            strategy.prepare_update(resource, obj, old, self.store)
            schema = self.type_of(resource).document
            subresource = options.subresource
            validate_update(resource, obj, old, schema, subresource=subresource)
        if not applied:
            # An empty list resets the ownership of all fields, a documented way out.
            if meta.get("managedFields") == []:
                old = {**old, "metadata": {**before, "managedFields": []}}
            managedfields.record_update(
                old, obj, self.type_of(resource), self._entry(resource, options)
            )
        return self._put(resource, obj, options, old=old)

    def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: Any,
        *,
        content_type: str,
        options: WriteOptions,
    ) -> tuple[Object, bool]:
        """Patch an object; the flag says whether an apply created it."""
        if content_type in (patching.APPLY_PATCH, patching.APPLY_PATCH_CBOR):
            return self._apply(resource, namespace, name, patch, options)
        old = self.read(resource, namespace, name)
        obj = self.patched(
            old,
            patch,
            content_type=content_type,
            node=self.type_of(resource),
            custom=resource.custom,
        )
        if not isinstance(obj, dict) or not isinstance(obj.get("metadata"), dict):
            raise bad_request("the patched object has no metadata")
        obj = self._decoded(resource, obj, options)
        if obj["metadata"].get("name") != name:
            cause = Cause(
                "FieldValueInvalid",
                f'Invalid value: "{obj["metadata"].get("name", "")}": field is immutable',
                "metadata.name",
            )
            raise invalid(resource.kind, name, [cause], group=resource.group)
        return self.rewrite(resource, old, obj, options), False

    def patched(
        self,
        old: Object,
        patch: Any,
        *,
        content_type: str,
        node: schema.Node,
        custom: bool = False,
    ) -> Any:
        """The object with a patch of this content type applied; 415 for an unknown one."""
        source = copy.deepcopy(old)
        if content_type == patching.JSON_PATCH:
            return patching.json_patch(source, patch)
        if content_type == patching.MERGE_PATCH or (
            # Custom kinds have no merge keys: Kubernetes refuses strategic patches of them.
            content_type == patching.STRATEGIC_PATCH and not custom
        ):
            if not isinstance(patch, dict):
                raise bad_request(
                    "couldn't get version/kind; json parse error: json: cannot unmarshal array "
                    "into Go value of type map[string]interface {}"
                )
            return (
                patching.merge_patch(source, patch)
                if content_type == patching.MERGE_PATCH
                else patching.strategic_patch(source, patch, node)
            )
        raise unsupported_media_type()

    def _apply(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        config: Any,
        options: WriteOptions,
    ) -> tuple[Object, bool]:
        if not isinstance(config, dict):
            raise bad_request("error decoding YAML: the patch is not an object")
        if not options.manager:
            cause = Cause(
                "FieldValueRequired",
                "Required value: is required for apply patch",
                "fieldManager",
            )
            raise invalid("PatchOptions", "", [cause], group="meta.k8s.io")
        self._check_kind(resource, config)
        config, warnings = decoding.decode(
            resource,
            config,
            self.type_of(resource),
            strictness="Strict" if options.validation == "Strict" else "Warn",
        )
        options.warnings += warnings
        meta = config.setdefault("metadata", {})
        if meta.pop("managedFields", None):
            # A server-side apply must not carry claims of its own: they would be out of date at
            # once.
            raise bad_request("metadata.managedFields must be nil")
        if meta.setdefault("name", name) != name:
            raise bad_request(
                f"the name of the object ({meta['name']}) does not match "
                f"the name on the URL ({name})"
            )
        self._check_namespace(resource, meta, namespace)
        config = {
            "kind": resource.kind,
            "apiVersion": resource.group_version,
            **config,
        }
        record = self.store.get(resource.storage, namespace, name)
        live = conversion.from_storage(resource, record.obj) if record else None
        entry = self._entry(resource, options, operation="Apply")
        merged = managedfields.apply(
            live, config, self.type_of(resource), entry=entry, force=options.force
        )
        if live is not None:
            return self.rewrite(resource, live, merged, options, applied=True), False
        strategy.convert_input(resource, merged)
        defaults.apply(resource, merged)
        merged["metadata"] |= {
            "uid": str(uuid.uuid4()),
            "creationTimestamp": clock.timestamp(),
        }
        return self._insert(resource, merged, options, applied=True), True

    def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: Object | None,
        options: WriteOptions,
    ) -> Object:
        """Delete an object; returns its last state, or a Status for kinds that answer with one."""
        return deletion.delete(
            self.store,
            resource,
            self.record(resource, namespace, name),
            body or {},
            options,
        )

    def finish(self, resource: Resource, obj: Object) -> None:
        """Remove a deleted object as soon as nothing holds it."""
        deletion.finish(self.store, resource.storage, obj)

    def _put(
        self,
        resource: Resource,
        obj: Object,
        options: WriteOptions,
        *,
        old: Object | None = None,
    ) -> Object:
        obj = _ordered(obj)
        defaults.write_nulls(resource, obj)
        # A write that changes nothing gets no new resourceVersion and no watch event.
        if old is not None and _same_state(obj, _ordered(old)):
            return old
        if options.dry_run:
            if old is None:
                obj["metadata"].pop("resourceVersion", None)
            return obj
        stored = conversion.to_storage(resource, obj)
        self.store.put(resource.storage, stored)
        obj["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"]
        if old is not None and is_terminating(obj):
            deletion.finish(self.store, resource.storage, stored)
        return obj

    def _decoded(self, resource: Resource, obj: Any, options: WriteOptions) -> Object:
        if not isinstance(obj, dict):
            body_type = {
                list: "array",
                str: "string",
                bool: "bool",
                type(None): "null",
            }.get(type(obj), "number")
            raise bad_request(
                "couldn't get version/kind; json parse error: json: cannot unmarshal "
                f"{body_type} into Go value of type struct"
            )
        self._check_kind(resource, obj)
        decoded, warnings = decoding.decode(
            resource,
            obj,
            self.type_of(resource),
            strictness=options.validation,
            body=options.body,
        )
        options.warnings += warnings
        if resource.custom:
            custom.fill_defaults(decoded, self.type_of(resource).document)
        decoded["kind"] = resource.kind
        decoded["apiVersion"] = resource.group_version
        decoded.setdefault("metadata", {})
        return decoded

    def _check_kind(self, resource: Resource, obj: Object) -> None:
        kind = obj.get("kind")
        version = obj.get("apiVersion")
        # Both may be left out: the address of the request names them.
        same_kind = not kind or kind == resource.kind
        same_version = not version or version == resource.group_version
        if not same_kind or not same_version:
            message = (
                f'no kind "{kind}" is registered for version "{version}" '
                'in scheme "pkg/api/legacyscheme/scheme.go:30"'
            )
            if self.table.of_kind(str(version), str(kind)) is not None:
                body_kind = f'{kind} in version "{str(version).rpartition("/")[2]}"'
                message = (
                    f"{body_kind} cannot be handled as a {resource.kind}: "
                    f"converting (v1.{kind}) to (core.{resource.kind}): unknown conversion"
                )
            raise bad_request(message)

    def _check_namespace(self, resource: Resource, meta: Object, namespace: str) -> None:
        if not resource.namespaced:
            meta.pop("namespace", None)
            return
        body_namespace = meta.setdefault("namespace", namespace)
        if body_namespace != namespace:
            raise bad_request(
                "the namespace of the provided object does not match "
                "the namespace sent on the request"
            )

    def _check_unchanged_identity(self, resource: Resource, meta: Object, before: Object) -> None:
        if meta.get("uid") and meta["uid"] != before["uid"]:
            message = (
                f"Precondition failed: UID in precondition: {meta['uid']}, "
                f"UID in object meta: {before['uid']}"
            )
            raise conflict(resource, before["name"], message)
        if meta.get("resourceVersion") and meta["resourceVersion"] != before["resourceVersion"]:
            version = meta["resourceVersion"]
            if not str(version).isdigit():
                cause = Cause(
                    "FieldValueInvalid",
                    f'Invalid value: "{version}": strconv.ParseUint: invalid syntax',
                    "metadata.resourceVersion",
                )
                raise invalid(resource.kind, before["name"], [cause], group=resource.group)
            raise stale(resource, before["name"])

    def _generated(self, resource: Resource, namespace: str, prefix: str) -> str:
        # 58 characters and a suffix of 5 make 63, the longest label; eight tries since 1.30.
        for _ in range(8):
            name = prefix[:58] + random_suffix()
            if (
                self.store.get(
                    resource.storage,
                    namespace if resource.namespaced else "",
                    name,
                )
                is None
            ):
                return name
        raise ApiError(
            409,
            "AlreadyExists",
            f'{resource.qualified} "{prefix}" already exists, '
            "the server was not able to generate a unique name for the object",
        )

    def _entry(
        self, resource: Resource, options: WriteOptions, operation: str = "Update"
    ) -> managedfields.Entry:
        moment = "" if options.subresource == "scale" else clock.timestamp()
        return managedfields.Entry(
            options.manager or "unknown",
            operation,
            resource.group_version,
            options.subresource,
            moment,
            frozenset(),
        )


def _same_state(obj: Object, old: Object) -> bool:
    """Whether two states differ in nothing but the times of their managed fields."""
    return _state_without_times(obj) == _state_without_times(old)


def _state_without_times(obj: Object) -> tuple[Object, Object, list[str]]:
    body = {key: value for key, value in obj.items() if key != "metadata"}
    meta = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    claims = obj["metadata"].get("managedFields") or ()
    return body, meta, sorted(str({**claim, "time": ""}) for claim in claims)
