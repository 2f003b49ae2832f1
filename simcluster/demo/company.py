"""What the company runs: a table of namespaces and their applications."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class App:
    """One application."""

    name: str
    image: str
    replicas: int = 2
    port: int = 8080
    kind: str = "Deployment"
    cpu: str = "50m"
    memory: str = "96Mi"
    command: tuple[str, ...] = ()
    notes: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    selector: dict[str, str] = field(default_factory=dict)
    schedule: str = ""
    storage: str = ""
    host: str = ""
    scales: bool = False
    config: str = ""
    sidecar: bool = False


@dataclass(frozen=True)
class Namespace:
    """One team's corner."""

    name: str
    team: str
    apps: tuple[App, ...]
    quota: dict[str, str] = field(default_factory=dict)


_SHOP = "registry.example.com/shop"

NAMESPACES = (
    Namespace(
        "storefront",
        "web",
        (
            App(
                "web",
                f"{_SHOP}/web:2.14.1",
                4,
                host="shop.example.com",
                scales=True,
                sidecar=True,
            ),
            App("graphql-gateway", f"{_SHOP}/graphql:5.3.0", 3, scales=True),
            App(
                "session-cache",
                "redis:7.4",
                1,
                6379,
                storage="2Gi",
                kind="StatefulSet",
            ),
        ),
        {"pods": "40", "requests.cpu": "8", "requests.memory": "16Gi"},
    ),
    Namespace(
        "checkout",
        "payments",
        (
            App("cart", f"{_SHOP}/cart:1.9.4", 3),
            App("checkout-api", f"{_SHOP}/checkout:3.2.0", 3, scales=True),
            # Crashes at start: the database refuses its password.
            App(
                "coupon-service",
                f"{_SHOP}/coupons:0.8.2",
                2,
                command=(
                    "sh",
                    "-c",
                    "echo starting coupons 0.8.2; sleep 3; echo 'FATAL: password authentication "
                    'failed for user "coupons"\'; exit 1',
                ),
            ),
        ),
    ),
    Namespace(
        "payments",
        "payments",
        (
            App(
                "payment-gateway",
                f"{_SHOP}/payments:4.0.7",
                3,
                cpu="100m",
                memory="256Mi",
            ),
            App(
                "fraud-scoring",
                f"{_SHOP}/fraud:1.1.0",
                2,
                cpu="200m",
                memory="512Mi",
            ),
            App(
                "ledger",
                "postgres:16",
                2,
                5432,
                kind="StatefulSet",
                storage="20Gi",
            ),
            App(
                "settlement",
                f"{_SHOP}/settlement:2.0.1",
                kind="CronJob",
                schedule="*/10 * * * *",
                command=(
                    "sh",
                    "-c",
                    "echo settling; sleep 20; echo settled 412 payments",
                ),
            ),
        ),
        {"pods": "30", "limits.cpu": "20", "limits.memory": "32Gi"},
    ),
    Namespace(
        "catalog",
        "catalog",
        (
            App("catalog-api", f"{_SHOP}/catalog:6.1.3", 3),
            App("price-feed", f"{_SHOP}/prices:1.4.0", 1),
            # Its tag was never pushed.
            App("image-resizer", f"{_SHOP}/resizer:missing", 2),
            App(
                "catalog-db",
                "postgres:16",
                1,
                5432,
                kind="StatefulSet",
                storage="10Gi",
            ),
        ),
    ),
    Namespace(
        "search",
        "catalog",
        (
            App("search-api", f"{_SHOP}/search:2.2.2", 2),
            App(
                "opensearch",
                "opensearchproject/opensearch:2.19",
                3,
                9200,
                kind="StatefulSet",
                storage="30Gi",
                cpu="250m",
                memory="1Gi",
            ),
            # A nightly job that fails.
            App(
                "reindex",
                f"{_SHOP}/search-tools:2.2.2",
                kind="Job",
                command=(
                    "sh",
                    "-c",
                    "echo reindexing; sleep 4; echo 'index is read-only'; exit 2",
                ),
            ),
        ),
    ),
    Namespace(
        "identity",
        "platform",
        (
            App(
                "keycloak",
                "quay.io/keycloak/keycloak:26.4",
                2,
                host="login.example.com",
                memory="512Mi",
            ),
            # Its ConfigMap was renamed.
            App(
                "ldap-sync",
                "registry.example.com/it/ldap-sync:1.0",
                1,
                config="ldap-settings-v2",
            ),
        ),
    ),
    Namespace(
        "data",
        "data",
        (
            App(
                "kafka",
                "bitnami/kafka:4.1",
                3,
                9092,
                kind="StatefulSet",
                storage="50Gi",
                cpu="250m",
                memory="1Gi",
            ),
            App("kafka-ui", "provectuslabs/kafka-ui:v0.7.2", 1),
            App(
                "minio",
                "quay.io/minio/minio:RELEASE.2026-09-10",
                1,
                9000,
                kind="StatefulSet",
                storage="100Gi",
            ),
        ),
    ),
    Namespace(
        "analytics",
        "data",
        (
            App(
                "superset",
                "apache/superset:5.0.0",
                1,
                8088,
                host="bi.example.com",
                memory="512Mi",
            ),
            # Runs out of memory every few minutes.
            App(
                "report-builder",
                "registry.example.com/data/reports:0.9",
                1,
                notes={"simcluster.dev/oom-after": "90"},
            ),
            # Waits for a node with a graphics card.
            App(
                "model-trainer",
                "registry.example.com/data/trainer:0.3",
                1,
                selector={"accelerator": "nvidia-a100"},
            ),
            App(
                "daily-report",
                "registry.example.com/data/reports:0.9",
                kind="CronJob",
                schedule="0 6 * * *",
                command=("sh", "-c", "sleep 30; echo done"),
            ),
        ),
    ),
    Namespace(
        "monitoring",
        "platform",
        (
            App(
                "prometheus",
                "prom/prometheus:v3.6.0",
                2,
                9090,
                kind="StatefulSet",
                storage="40Gi",
                memory="1Gi",
            ),
            App(
                "grafana",
                "grafana/grafana:12.2.0",
                1,
                3000,
                host="grafana.example.com",
            ),
            App("alertmanager", "prom/alertmanager:v0.29.0", 2, 9093),
            App(
                "node-exporter",
                "prom/node-exporter:v1.10.0",
                kind="DaemonSet",
                port=9100,
                cpu="10m",
                memory="32Mi",
            ),
        ),
    ),
    Namespace(
        "ingress-nginx",
        "platform",
        (
            App(
                "ingress-nginx-controller",
                "registry.k8s.io/ingress-nginx/controller:v1.14.0",
                2,
                80,
                cpu="100m",
                memory="128Mi",
            ),
        ),
    ),
    Namespace(
        "ci",
        "platform",
        (
            App("gitlab-runner", "gitlab/gitlab-runner:v18.5.0", 2),
            App(
                "registry-mirror",
                "registry:3",
                1,
                5000,
                kind="StatefulSet",
                storage="50Gi",
            ),
            App(
                "prune-builds",
                "busybox:1.37",
                kind="CronJob",
                schedule="*/5 * * * *",
                command=("sh", "-c", "echo pruned 7 builds"),
            ),
        ),
    ),
    Namespace(
        "staging",
        "web",
        (
            # Never becomes ready: its readiness check answers 503.
            App(
                "web",
                f"{_SHOP}/web:2.15.0-rc1",
                2,
                notes={"simcluster.dev/never-ready": "true"},
                host="staging.example.com",
            ),
            App("checkout-api", f"{_SHOP}/checkout:3.3.0-rc2", 1),
            App("old-promo", f"{_SHOP}/promo:1.0", 0),
        ),
        {"pods": "10"},
    ),
    Namespace(
        "kube-system",
        "",
        (
            App(
                "coredns",
                "registry.k8s.io/coredns/coredns:v1.13.1",
                2,
                53,
                cpu="100m",
                memory="70Mi",
            ),
            App(
                "metrics-server",
                "registry.k8s.io/metrics-server/metrics-server:v0.8.0",
                1,
                10250,
                cpu="100m",
                memory="200Mi",
            ),
            App(
                "kube-proxy",
                "registry.k8s.io/kube-proxy:v1.36.2",
                kind="DaemonSet",
                port=10249,
                cpu="10m",
                memory="32Mi",
            ),
        ),
    ),
)
