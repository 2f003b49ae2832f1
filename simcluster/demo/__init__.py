"""`--demo`: a small company, with the troubles that a small company has."""

from simcluster.demo import company, manifests
from simcluster.errors import ApiError
from simcluster.registry import Registry
from simcluster.resources import Object
from simcluster.write_options import WriteOptions


def fill(registry: Registry) -> int:
    """Create the company's objects as an administrator with kubectl would; returns how many."""
    options = WriteOptions("kubectl-client-side-apply", validation="Strict")
    count = 0
    for obj in _objects():
        resource = registry.table.of_kind(obj["apiVersion"], obj["kind"])
        if resource is None:
            raise ApiError(404, "NotFound", f"no kind {obj['kind']} in {obj['apiVersion']}")
        registry.create(resource, obj["metadata"].get("namespace", ""), obj, options)
        count += 1
    return count


def _objects() -> list[Object]:
    objects = [
        manifests.namespace(namespace.name, namespace.team) for namespace in company.NAMESPACES
    ]
    for namespace in company.NAMESPACES:
        for app in namespace.apps:
            objects += manifests.application(namespace, app)
        objects += manifests.extras(namespace)
    return objects + manifests.cluster_wide()
