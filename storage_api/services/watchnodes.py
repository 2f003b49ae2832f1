"""Watch nodes: objects that others watch, apart for each environment."""

from dataclasses import dataclass

from storage_api.protection import DocumentPlace, seal_secrets
from storage_api.query.conditions import Clause, equals
from storage_api.services.write_errors import check_key, execute


@dataclass(frozen=True, slots=True)
class WatchNodeKey:
    """Names a watch node."""

    env: str
    cluster_id: str
    namespace: str
    resource_type: str
    resource_name: str

    def clauses(self) -> tuple[Clause, ...]:
        """The conditions that name exactly this node."""
        siblings = list_clauses(
            self.env,
            self.cluster_id,
            namespace=self.namespace,
            resource_type=self.resource_type,
        )
        return (
            *siblings,
            equals("resource_name", self.resource_name),
        )


def list_clauses(
    env: str, cluster_id: str, *, namespace: str, resource_type: str
) -> tuple[Clause, ...]:
    """The conditions of one list of nodes."""
    return (
        equals("env", env),
        equals("cluster_id", cluster_id),
        equals("resource_type", resource_type),
        equals("namespace", namespace),
    )


_PUT = """
INSERT INTO storage_watch_node AS r
  (env, cluster_id, namespace, resource_type, resource_name, data, update_time)
VALUES (%s, %s, %s, %s, %s, %s::jsonb, date_trunc('milliseconds', clock_timestamp()))
ON CONFLICT (env, cluster_id, resource_type, namespace, resource_name) DO UPDATE SET
  data = EXCLUDED.data,
  update_time = greatest(EXCLUDED.update_time, r.update_time + interval '1 millisecond')
"""


def put(key: WatchNodeKey, data: str) -> None:
    """Create a node or replace its object (JSON text); Invalid when it cannot be stored."""
    check_key(
        clusterId=key.cluster_id,
        namespace=key.namespace,
        resourceType=key.resource_type,
        resourceName=key.resource_name,
    )
    # Environments share cluster names: values of Secrets are sealed for one environment.
    place = DocumentPlace(
        f"{key.env}/{key.cluster_id}",
        key.resource_type,
        key.namespace,
        key.resource_name,
    )
    execute(
        _PUT,
        key.env,
        key.cluster_id,
        key.namespace,
        key.resource_type,
        key.resource_name,
        seal_secrets(place, data.encode()).decode(),
    )
