"""Every setting, from environment variables alone; docs/settings.md lists them all."""

import posixpath
import re
import sys
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from cryptography.fernet import Fernet
from kombu import Queue

from core import client_certificates
from kubegale import __version__, env, tuning
from kubegale.tuning import *

BASE_DIR = Path(__file__).resolve().parent.parent
globals().update(env.overrides("KUBEGALE_TUNING", vars(tuning)))

# --- Identity and secrets -------------------------------------------------------------------------
SECRET_KEY = env.required(
    "SECRET_KEY",
    "set it to a long random text, the same for every process.",
)
FIELD_ENCRYPTION_KEYS = env.words("FIELD_ENCRYPTION_KEYS")
if not FIELD_ENCRYPTION_KEYS:
    raise env.SettingError(
        "FIELD_ENCRYPTION_KEYS is not set: give one or more Fernet keys, comma separated; "
        "the first encrypts."
    )
try:
    [Fernet(key) for key in FIELD_ENCRYPTION_KEYS]
except ValueError:
    raise env.SettingError(
        "FIELD_ENCRYPTION_KEYS holds something that is not a Fernet key "
        "(32 bytes, url-safe base64)."
    ) from None
DEBUG = env.boolean("DEBUG", False)
ALLOWED_HOSTS = env.hosts("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS")

# --- Applications ---------------------------------------------------------------------------------
INSTALLED_APPS = [
    "kubegale.apps.ConsoleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    # Its templates of form fields, which templates/admin/widgets overrides.
    "django.forms",
    "rest_framework",
    "rest_framework_simplejwt",
    "rest_framework_simplejwt.token_blacklist",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_beat",
    "clusters",
    "operations",
    "workloads",
    "storage_api",
    "access",
    "tenants",
    "billing",
    "manifest_templates",
    "alerts",
    "automation",
    "gateway",
    "console",
]
MIDDLEWARE = [
    "kubegale.walm_stats.CountAnswers",
    "kubegale.request_log.RequestLog",
    "clusters.impersonation.ClearIdentityMiddleware",
    "clusters.request_cache.RequestCacheMiddleware",
    # Goes on with one of the two lists below, API_MIDDLEWARE for API_PREFIXES.
    "kubegale.chains.ChainByAddress",
]
API_MIDDLEWARE = [
    "core.api.middleware.ApiAnswers",
    "core.api.bodies.BodyLimit",
    "core.api.middleware.CsrfGuard",
    "core.api.routes.OptionalSlash",
]
PAGE_MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "core.api.bodies.BodyLimit",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "core.api.headers.PrivateAnswers",
    "core.api.routes.OptionalSlash",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "kubegale.page_middleware.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
# They look for the middleware of pages in MIDDLEWARE.
SILENCED_SYSTEM_CHECKS = ["admin.E408", "admin.E409", "admin.E410"]
ROOT_URLCONF = "kubegale.urls"
WSGI_APPLICATION = "kubegale.wsgi.application"
APPEND_SLASH = False
# Under these, names in addresses may hold a percent-encoded slash.
FREE_NAME_PREFIXES = ("/bcsapi/", "/bcsstorage/")
API_PREFIXES = (
    "/api/",
    "/bcsapi/",
    "/bcsstorage/",
    "/v1/k8sservice/",
    "/mcp",
    "/k8s/",
    "/liveniess",
    "/liveness",
    "/livez",
    "/readiness",
    "/stats",
    "/healthz",
    "/readyz",
    "/metrics",
)
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# --- Database, broker, cache ----------------------------------------------------------------------
DATABASE_URL = env.required(
    "DATABASE_URL",
    "give postgres://user:password@host:port/name (make run brings its own server).",
)
REDIS_URL = env.required(
    "REDIS_URL",
    "give redis://[:password@]host:port/0 (make run brings its own server).",
)
STATEMENT_TIMEOUT_MS = env.integer("DATABASE_STATEMENT_TIMEOUT_MS", 30_000)
DATABASES = {
    "default": {
        "ENGINE": "core.database",
        **env.database(DATABASE_URL),
        "CONN_MAX_AGE": env.integer("DATABASE_CONN_MAX_AGE", 60),
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            "connect_timeout": 5,
            "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS}",
            "application_name": "kubegale",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "kubegale",
    }
}
CELERY_BROKER_URL = REDIS_URL
CELERY_RESULT_BACKEND = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_SOFT_TIME_LIMIT = TASK_SOFT_TIME_LIMIT
CELERY_TASK_TIME_LIMIT = TASK_TIME_LIMIT
# A task that outlives the visibility time-out would be handed out a second time while it still
# runs.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": CELERY_TASK_TIME_LIMIT + 600,
    "global_keyprefix": "kubegale:",
}
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# Celery would connect anew for each task. `kubegale.celery` looks after the connections instead.
CELERY_DB_REUSE_MAX = sys.maxsize
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TIMEZONE = "UTC"
# --- Operations: kind -> runner and queue; queue -> how many may run at once in one cluster -------
OPERATIONS: dict[str, dict[str, str]] = {
    "vkube_deploy": {
        "run": "billing.services.rollout_watch.run",
        "queue": "rollout",
    },
    "bulk": {"run": "workloads.actions.bulk.run", "queue": "bulk"},
    "apply": {"run": "workloads.manifests.operation.run", "queue": "bulk"},
    "template_deploy": {"run": "manifest_templates.runner.run", "queue": "bulk"},
    "template_undeploy": {"run": "manifest_templates.runner.run", "queue": "bulk"},
    "drain": {"run": "workloads.actions.drain.run", "queue": "drain"},
    "task": {
        "run": "automation.runner.run",
        "clean_up": "automation.runner.clean_up",
        "queue": "tasks",
    },
    "file_digest": {"run": "workloads.files.operation.run_digest", "queue": "bulk"},
    "file_upload": {
        "run": "workloads.files.operation.run_upload",
        "clean_up": "workloads.files.operation.remove_staged",
        "queue": "bulk",
    },
    "rollout": {
        "run": "workloads.actions.rollouts.run",
        "queue": "rollout",
    },
    "recreate": {
        "run": "workloads.actions.restarts.run",
        "queue": "rollout",
    },
}
OPERATION_LIMITS = {
    "drain": env.integer("OPERATION_LIMIT_DRAIN", 4),
    "rollout": env.integer("OPERATION_LIMIT_ROLLOUT", 50),
    "bulk": env.integer("OPERATION_LIMIT_BULK", 4),
    "tasks": env.integer("OPERATION_LIMIT_TASKS", 20),
}
OPERATION_RETENTION_DAYS = env.integer("OPERATION_RETENTION_DAYS", 30)
ROLLOUT_DEADLINE_SECONDS = env.integer("ROLLOUT_DEADLINE_SECONDS", 600)
CELERY_TASK_DEFAULT_QUEUE = "default"
# A worker started without -Q serves them all.
CELERY_TASK_QUEUES = [Queue(name) for name in ("default", *OPERATION_LIMITS)]
# Of one core and one GiB in an hour; the defaults are those of OpenCost.
COST_CPU_HOUR = env.decimal("COST_CPU_HOUR", "0.031611")
COST_GIB_HOUR = env.decimal("COST_GIB_HOUR", "0.004237")
COST_CURRENCY = env.text("COST_CURRENCY", "USD")
METRIC_RETENTION_DAYS = env.integer("METRIC_RETENTION_DAYS", 7)
CELERY_BEAT_SCHEDULE: dict[str, dict[str, object]] = {
    "sample-clusters": {
        "task": "workloads.sample_clusters",
        "schedule": METRIC_INTERVAL,
    },
    "forget-expired-tokens": {
        "task": "access.forget_expired_tokens",
        "schedule": 86400.0,
    },
    "sample-tenants": {
        "task": "tenants.sample_usage",
        "schedule": TENANT_USAGE_INTERVAL,
    },
    "expire-audit": {"task": "access.expire_audit", "schedule": 3600.0},
    "check-clusters": {
        "task": "clusters.check_clusters",
        "schedule": CLUSTER_CHECK_INTERVAL,
    },
    "resume-operations": {
        "task": "operations.resume_operations",
        "schedule": OPERATION_RESUME_INTERVAL,
    },
    "purge-operations": {
        "task": "operations.purge_operations",
        "schedule": 3600.0,
    },
    "forget-recordings": {
        "task": "workloads.forget_recordings",
        "schedule": 3600.0,
    },
    "remove-debug-pods": {
        "task": "workloads.remove_debug_pods",
        "schedule": 120.0,
    },
    "storage-retention": {
        "task": "storage_api.keep_retention",
        "schedule": 3600.0,
    },
    "evaluate-alerts": {
        "task": "alerts.evaluate",
        "schedule": ALERT_INTERVAL_SECONDS,
        # A turn that could not start is worth nothing: the next one reads on from the same place.
        "options": {"expires": 10.0},
    },
    "dispatch-alerts": {
        "task": "alerts.dispatch",
        "schedule": ALERT_DISPATCH_SECONDS,
        "options": {"expires": 10.0},
    },
    "query-alerts": {
        "task": "alerts.query_prometheus",
        "schedule": ALERT_PROMQL_SECONDS,
        "options": {"expires": 15.0},
    },
    "forget-deliveries": {"task": "alerts.forget_deliveries", "schedule": 3600.0},
    "start-tasks": {
        "task": "automation.tick",
        "schedule": TASK_TICK_SECONDS,
        "options": {"expires": 10.0},
    },
    "forget-runs": {"task": "automation.forget_runs", "schedule": 3600.0},
    "forget-alerts": {"task": "alerts.forget_alerts", "schedule": 3600.0},
    "expire-orders": {
        "task": "billing.expire_orders",
        "schedule": env.number("VKUBE_EXPIRE_INTERVAL_SECONDS", 10.0),
    },
    "sample-usage": {
        "task": "billing.sample_usage",
        "schedule": VKUBE_SAMPLE_INTERVAL_SECONDS,
    },
    "deliver-webhooks": {
        "task": "billing.deliver_webhooks",
        "schedule": WEBHOOK_INTERVAL_SECONDS,
    },
}

# --- Web ------------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
LOCALE_PATHS = [BASE_DIR / "locale"]
LANGUAGE_COOKIE_NAME = "language"
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"
FORMAT_MODULE_PATH = "kubegale.formats"
USE_TZ = True
TIME_ZONE = env.text("TIME_ZONE", "UTC")
STATIC_URL = "/static/"
STATIC_ROOT = Path(env.text("STATIC_ROOT", str(BASE_DIR / "staticfiles")))
STATICFILES_DIRS = [path for path in [BASE_DIR / "static"] if path.is_dir()]
# collectstatic leaves a compressed copy next to each file, which browsers then get.
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = not STATIC_ROOT.is_dir()
DATA_UPLOAD_MAX_MEMORY_SIZE = env.integer("MAX_BODY_BYTES", 16 * 1024 * 1024)
MAX_ANONYMOUS_BODY_BYTES = env.integer("MAX_ANONYMOUS_BODY_BYTES", 64 * 1024)
# Followed logs and feeds over HTTP that one process serves: each holds one of its threads.
WEB_STREAMS = env.integer("WEB_STREAMS", max(1, env.integer("WEB_THREADS", 16) // 2))
WEB_STREAMS_PER_CALLER = env.integer("WEB_STREAMS_PER_CALLER", max(1, WEB_STREAMS // 2))
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
BEHIND_TLS_PROXY = env.boolean("BEHIND_TLS_PROXY", False)
SECURE_COOKIES = env.boolean("SECURE_COOKIES", BEHIND_TLS_PROXY)
# Browsers come back by https only; sent over https alone.
SECURE_HSTS_SECONDS = env.integer(
    "HSTS_SECONDS",
    365 * 86400 if BEHIND_TLS_PROXY or SECURE_COOKIES else 0,
)
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.boolean("HSTS_INCLUDE_SUBDOMAINS", False)
LANGUAGE_COOKIE_SECURE = SECURE_COOKIES
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_COOKIES
SESSION_COOKIE_HTTPONLY = True
# Read from the cache, stored in the database: each page of the console asks for one.
SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"
if BEHIND_TLS_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "/signin"
CSRF_FAILURE_VIEW = "kubegale.urls.csrf_failure"

# Sign-in through an OpenID Connect provider; off while there is no client id.
OIDC_RP_CLIENT_ID = env.text("OIDC_CLIENT_ID")
OIDC_ENABLED = bool(OIDC_RP_CLIENT_ID)
# Put before user names when a cluster is called as its caller, as kube-apiserver's
# --oidc-username-prefix.
OIDC_USERNAME_PREFIX = env.text("OIDC_USERNAME_PREFIX", "oidc:")
if OIDC_ENABLED:
    _HINT = "OIDC_CLIENT_ID is set, so the provider's addresses are needed too."
    OIDC_RP_CLIENT_SECRET = env.required("OIDC_CLIENT_SECRET", _HINT)
    OIDC_ISSUER = env.required("OIDC_ISSUER", _HINT)
    OIDC_OP_AUTHORIZATION_ENDPOINT = env.required("OIDC_AUTHORIZATION_ENDPOINT", _HINT)
    OIDC_OP_TOKEN_ENDPOINT = env.required("OIDC_TOKEN_ENDPOINT", _HINT)
    OIDC_OP_USER_ENDPOINT = env.required("OIDC_USERINFO_ENDPOINT", _HINT)
    OIDC_OP_JWKS_ENDPOINT = env.required("OIDC_JWKS_ENDPOINT", _HINT)
    OIDC_RP_SIGN_ALGO = env.choice(
        "OIDC_SIGN_ALGORITHM",
        "RS256",
        ("RS256", "RS384", "RS512", "ES256", "ES384"),
    )
    OIDC_RP_SCOPES = env.text("OIDC_SCOPES", "openid profile email groups")
    OIDC_USERNAME_CLAIM = env.text("OIDC_USERNAME_CLAIM", "preferred_username")
    OIDC_GROUPS_CLAIM = env.text("OIDC_GROUPS_CLAIM", "groups")
    OIDC_RENEW_ID_TOKEN_EXPIRY_SECONDS = OIDC_RENEW_SECONDS
    OIDC_USE_PKCE = True
    OIDC_TIMEOUT = 10
    LOGIN_REDIRECT_URL = "/"
    INSTALLED_APPS.append("mozilla_django_oidc")
    # A session ends soon after the provider has ended it.
    PAGE_MIDDLEWARE.append("mozilla_django_oidc.middleware.SessionRefresh")
    AUTHENTICATION_BACKENDS = [
        "django.contrib.auth.backends.ModelBackend",
        "access.oidc.Backend",
    ]

# --- API ------------------------------------------------------------------------------------------
# The names of the setting -> the dialects' own; only those whose originals had no credentials can
# be opened.
_OPENABLE = {
    "bcs": "bcs_storage",
    "k8sservice": "k8s_service",
    "walm": "walm",
}
TRUSTED_PROXIES = env.networks("TRUSTED_PROXIES")
# The header in which a trusted proxy describes its client's certificate, and the one that says that
# it has verified it.
CLIENT_CERT_HEADER = env.header("CLIENT_CERT_HEADER")
CLIENT_CERT_VERIFIED_HEADER = env.header("CLIENT_CERT_VERIFIED_HEADER")
CLIENT_CERT_FORMAT = env.choice("CLIENT_CERT_FORMAT", "dn", client_certificates.FORMATS)
if CLIENT_CERT_HEADER.lower() == CLIENT_CERT_VERIFIED_HEADER.lower() != "":
    raise env.SettingError(
        "CLIENT_CERT_HEADER and CLIENT_CERT_VERIFIED_HEADER must be different headers."
    )
# A word may be followed by @ and the network that it is opened to, and by @cert: and what a
# client's certificate has to say; several such words add up.
OPEN_DIALECTS: frozenset[str] = frozenset()
OPEN_DIALECTS_NETWORKS: dict[str, tuple[str, ...]] = {}
OPEN_DIALECTS_CERTIFICATES: dict[str, tuple[tuple[str, client_certificates.Rule], ...]] = {}
for _word, _network, _rule in env.opened_dialects("OPEN_DIALECTS"):
    if _word not in _OPENABLE:
        raise env.SettingError(f"OPEN_DIALECTS knows {', '.join(_OPENABLE)}, not {_word}.")
    _name = _OPENABLE[_word]
    OPEN_DIALECTS |= {_name}
    if not _rule:
        _networks = (_network,) if _network else ("0.0.0.0/0", "::/0")
        OPEN_DIALECTS_NETWORKS[_name] = OPEN_DIALECTS_NETWORKS.get(_name, ()) + _networks
        continue
    if not CLIENT_CERT_HEADER or not TRUSTED_PROXIES:
        raise env.SettingError(
            f"OPEN_DIALECTS opens {_word} by certificate: set TRUSTED_PROXIES to the proxies "
            "that verify certificates, and CLIENT_CERT_HEADER to the header in which they "
            "describe them."
        )
    try:
        _parsed = client_certificates.parse_rule(_rule, CLIENT_CERT_FORMAT)
    except ValueError as _error:
        raise env.SettingError(f"OPEN_DIALECTS: {_word}@cert:{_rule}: {_error}.") from None
    OPEN_DIALECTS_CERTIFICATES[_name] = (
        *OPEN_DIALECTS_CERTIFICATES.get(_name, ()),
        (_network, _parsed),
    )
OPEN_DIALECTS_CLUSTERS = frozenset(env.words("OPEN_DIALECTS_CLUSTERS"))
API_TOKEN_DAYS = env.integer("API_TOKEN_DAYS", 90)
if not 0 <= API_TOKEN_DAYS <= 36500:
    raise env.SettingError("API_TOKEN_DAYS must be from 0 to 36500; 0: tokens do not expire.")
HTTP_STATUS_MODE = env.choice("HTTP_STATUS_MODE", "document", ("document", "semantic"))
K8SSERVICE_HTTP_STATUS_FROM_CODE = env.boolean("K8SSERVICE_HTTP_STATUS_FROM_CODE", False)
WALM_ALLOW_EMPTY_SELECTOR = env.boolean("WALM_ALLOW_EMPTY_SELECTOR", False)
LOG_FOLLOWERS = env.integer("LOG_FOLLOWERS", 8)
WALM_TENANT_STATUS_GO_TEXT = env.boolean("WALM_TENANT_STATUS_GO_TEXT", False)
WALM_DELETE_LABELLED_TENANTS_ONLY = env.boolean("WALM_DELETE_LABELLED_TENANTS_ONLY", False)
TENANT_USAGE_RETENTION_DAYS = env.integer("TENANT_USAGE_RETENTION_DAYS", 30)
LOG_LIMIT_BYTES = env.integer("LOG_LIMIT_BYTES", 10 * 1024 * 1024)
LOG_DOWNLOAD_BYTES = env.integer("LOG_DOWNLOAD_BYTES", 1024 * 1024 * 1024)
LOG_DOWNLOAD_SOURCES = env.integer("LOG_DOWNLOAD_SOURCES", 100)
CONFIRMATION_LEVEL = env.choice("CONFIRMATION_LEVEL", "protected", ("off", "protected", "all"))
ACCESS_POLICY = "access.permissions.authorise"
ACCESS_POLICY_OF_MANY = "access.permissions.authorise_each"
OPEN_ACCESS_POLICY = "access.permissions.authorise_open"
AUTHORITY_OF_WORK = "access.streams.require_still_allowed"
IDENTITY_OF = "access.impersonation.identity_by_name"
IDENTITY_OF_ID = "access.impersonation.identity_by_id"
AUDIT_SINK = "access.audit_sink.write_entries"
AUDIT_RETENTION_DAYS = env.integer("AUDIT_RETENTION_DAYS", 365)
AUDIT_STORE_WRITES = env.boolean("AUDIT_STORE_WRITES", True)
METRICS_NETWORKS = env.networks(
    "METRICS_NETWORKS",
    "127.0.0.0/8,::1,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7",
)
METRICS_TOKEN = env.text("METRICS_TOKEN")
STREAM_POLICY = "access.streams"
# Loaded by the event-driven server alone, when it starts: the protocol's library is large.
AGENT_SERVER = "agents.server.AgentServer"
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "access.authentication.BearerAuthentication",
        "access.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["core.api.rendering.JSON"],
    "DEFAULT_PARSER_CLASSES": ["core.api.parsing.BodyParser"],
    "DEFAULT_SCHEMA_CLASS": "core.api.schema.DialectSchema",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(seconds=env.integer("ACCESS_TOKEN_SECONDS", 900)),
    "REFRESH_TOKEN_LIFETIME": timedelta(
        seconds=env.integer("REFRESH_TOKEN_SECONDS", 7 * 24 * 3600)
    ),
    "ROTATE_REFRESH_TOKENS": True,
    "BLACKLIST_AFTER_ROTATION": True,
    "SIGNING_KEY": SECRET_KEY,
    "AUDIENCE": "kubegale",
    "ISSUER": "kubegale",
    "UPDATE_LAST_LOGIN": True,
    "CHECK_REVOKE_TOKEN": True,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "KubeGale",
    "DESCRIPTION": "One control plane for many Kubernetes clusters.",
    "VERSION": __version__,
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "PREPROCESSING_HOOKS": ["core.api.schema.dialect_routes"],
    "POSTPROCESSING_HOOKS": ["core.api.components.name_components"],
    "SERVERS": [{"url": "/", "description": "This server"}],
    "LICENSE": {
        "name": "Apache-2.0",
        "url": "https://www.apache.org/licenses/LICENSE-2.0",
    },
}

# --- Clusters -------------------------------------------------------------------------------------
CLUSTER_ADDRESS_POLICY = env.text("CLUSTER_ADDRESS_POLICY", "private")
if CLUSTER_ADDRESS_POLICY not in {"private", "public"}:
    try:
        [ip_network(part.strip(), strict=False) for part in CLUSTER_ADDRESS_POLICY.split(",")]
    except ValueError:
        raise env.SettingError(
            "CLUSTER_ADDRESS_POLICY must be private, public or a comma list of networks."
        ) from None
CLUSTER_ALLOW_INSECURE_TLS = env.boolean("CLUSTER_ALLOW_INSECURE_TLS", False)
CLUSTER_CONNECT_TIMEOUT = env.number("CLUSTER_CONNECT_TIMEOUT", 3.0)
CLUSTER_READ_TIMEOUT = env.number("CLUSTER_READ_TIMEOUT", 30.0)
CLUSTER_CONCURRENCY = env.integer(
    "CLUSTER_CONCURRENCY", max(env.integer("WEB_THREADS", 16) // 2, 1)
)
if CLUSTER_CONCURRENCY < 1:
    raise env.SettingError("CLUSTER_CONCURRENCY must be at least 1.")
WS_BASE_URL = env.text("WS_BASE_URL")
# Where people open the console; notifications link to it. The sockets are at the same address.
CONSOLE_URL = (
    env.http_address("CONSOLE_URL")
    or re.sub(r"^ws", "http", WS_BASE_URL)
    or f"http://127.0.0.1:{env.integer('KUBEGALE_PORT', 8000)}"
).rstrip("/")
KUBEGALE_WS_PORT = env.integer("KUBEGALE_WS_PORT", env.integer("KUBEGALE_PORT", 8000) + 1)

# --- The gateway for kubectl ----------------------------------------------------------------------
GATEWAY_ADDRESS = env.text("GATEWAY_ADDRESS")
if GATEWAY_ADDRESS and not re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:\s]+):[0-9]{1,5}", GATEWAY_ADDRESS):
    raise env.SettingError(f"GATEWAY_ADDRESS must be host:port, not {GATEWAY_ADDRESS!r}.")
GATEWAY_TLS = env.boolean("GATEWAY_TLS", True)
GATEWAY_CERTIFICATE_FILE = env.text("GATEWAY_CERTIFICATE_FILE")
GATEWAY_KEY_FILE = env.text("GATEWAY_KEY_FILE")
GATEWAY_CA_FILE = env.text("GATEWAY_CA_FILE")
GATEWAY_DATA_DIR = env.text("GATEWAY_DATA_DIR")
GATEWAY_NAMES = env.words("GATEWAY_NAMES")
if GATEWAY_ADDRESS and GATEWAY_TLS and not (GATEWAY_CERTIFICATE_FILE or GATEWAY_DATA_DIR):
    raise env.SettingError(
        "GATEWAY_ADDRESS needs GATEWAY_CERTIFICATE_FILE, or GATEWAY_DATA_DIR for a certificate of "
        "its own, or GATEWAY_TLS=0 behind a proxy that speaks TLS."
    )
GATEWAY_URL = env.text("GATEWAY_URL").rstrip("/")
if GATEWAY_URL and not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", GATEWAY_URL):
    raise env.SettingError(f"GATEWAY_URL must be an http(s) address, not {GATEWAY_URL!r}.")
if GATEWAY_ADDRESS and GATEWAY_TLS and not GATEWAY_URL:
    GATEWAY_URL = f"https://{GATEWAY_ADDRESS}"
# Whether kubeconfigs name the gateway's own listener with a certificate of its own authority.
GATEWAY_OWN_CERTIFICATE = (
    bool(GATEWAY_ADDRESS and GATEWAY_TLS)
    and not GATEWAY_CERTIFICATE_FILE
    and urlsplit(GATEWAY_URL).netloc.rpartition(":")[2] == GATEWAY_ADDRESS.rpartition(":")[2]
)

# --- Storage --------------------------------------------------------------------------------------
STORAGE_WIRE_PROFILE = env.choice("STORAGE_WIRE_PROFILE", "doc", ("doc", "go"))
STORAGE_TIME_ZONE = env.text("STORAGE_TIME_ZONE", env.text("TIME_ZONE", "Asia/Shanghai"))
try:
    ZoneInfo(STORAGE_TIME_ZONE)
except (ValueError, OSError):
    raise env.SettingError(
        f"STORAGE_TIME_ZONE is not a time zone: {STORAGE_TIME_ZONE!r}."
    ) from None
STORAGE_CHANGE_DAYS = env.integer("STORAGE_CHANGE_DAYS", 7)
STORAGE_EVENT_MAX_DAYS = env.integer("STORAGE_EVENT_MAX_DAYS", 15)
STORAGE_EVENT_MAX_COUNT = env.integer("STORAGE_EVENT_MAX_COUNT", 10_000)
STORAGE_ALARM_MAX_DAYS = env.integer("STORAGE_ALARM_MAX_DAYS", 15)
STORAGE_ALARM_MAX_COUNT = env.integer("STORAGE_ALARM_MAX_COUNT", 10_000)
STORAGE_WATCH_STREAMS = env.integer("STORAGE_WATCH_STREAMS", 8)
STORAGE_WATCH_STREAMS_PER_CLIENT = env.integer("STORAGE_WATCH_STREAMS_PER_CLIENT", 4)

# --- Orders ---------------------------------------------------------------------------------------
VKUBE_REGION_LABEL = env.text("VKUBE_REGION_LABEL", "region")
VKUBE_REGION_FALLBACK_LABEL = env.text("VKUBE_REGION_FALLBACK_LABEL")
VKUBE_NAMESPACE = env.text("VKUBE_NAMESPACE", "default")
VKUBE_NAMESPACE_MEMORY = env.text("VKUBE_NAMESPACE_MEMORY")
VKUBE_POD_CIDRS = env.words("VKUBE_POD_CIDRS")
VKUBE_IMAGE_PULL_SECRET = env.text("VKUBE_IMAGE_PULL_SECRET", "vkube-registry")
VKUBE_BANDWIDTH = env.text("VKUBE_BANDWIDTH", "1024M")
VKUBE_CPU_PER_GI = env.decimal("VKUBE_CPU_PER_GI", "256.5")
VKUBE_ALLOW_PRIVILEGE_ESCALATION = env.boolean("VKUBE_ALLOW_PRIVILEGE_ESCALATION", False)
VKUBE_CHECK_IMAGES = env.boolean("VKUBE_CHECK_IMAGES", False)
VKUBE_RESERVED_PORTS = env.ports(
    # What nodes and Kubernetes themselves answer on, and where it puts node ports; 80 and 443 are
    # what orders are bought for.
    "VKUBE_RESERVED_PORTS",
    "1-79,81-442,444-1023,2379-2380,6443,10248-10259,30000-32767",
)
VKUBE_RANDOM_PORTS = env.ports("VKUBE_RANDOM_PORTS", "20000-29999")
VKUBE_PORT_PROBE = env.boolean("VKUBE_PORT_PROBE", False)
VKUBE_DURATION_SECONDS = env.integer("VKUBE_DURATION_SECONDS", 3600)
VKUBE_PROVIDER = env.text("VKUBE_PROVIDER", "v-kube-service")
VKUBE_RECIPIENT = env.text("VKUBE_RECIPIENT")
VKUBE_BARE_ERRORS = env.boolean("VKUBE_BARE_ERRORS", False)
VKUBE_DOCUMENTED_ERRORS_ONLY = env.boolean("VKUBE_DOCUMENTED_ERRORS_ONLY", False)
THROTTLE_PUBLIC = env.rate("THROTTLE_PUBLIC", "120/min")
THROTTLE_BAD_SECRET = env.rate("THROTTLE_BAD_SECRET", "60/min")
IMAGE_CHECKER = env.text("IMAGE_CHECKER", "billing.registry.RegistryChecker")
IMAGE_REGISTRY_URL = env.text("IMAGE_REGISTRY_URL", "https://registry-1.docker.io")
IMAGE_REGISTRIES = env.words("IMAGE_REGISTRIES")
IMAGE_TOKEN_HOSTS = frozenset(env.words("IMAGE_TOKEN_HOSTS", "auth.docker.io"))
IMAGE_ADDRESS_POLICY = env.text("IMAGE_ADDRESS_POLICY", "private")
WEBHOOK_ADDRESS_POLICY = env.text("WEBHOOK_ADDRESS_POLICY", "public")

# --- Mail of alerts -------------------------------------------------------------------------------
EMAIL_HOST = env.text("EMAIL_HOST")
EMAIL_PORT = env.integer("EMAIL_PORT", 25)
EMAIL_HOST_USER = env.text("EMAIL_HOST_USER")
EMAIL_HOST_PASSWORD = env.text("EMAIL_HOST_PASSWORD")
EMAIL_USE_TLS = env.boolean("EMAIL_USE_TLS", False)
EMAIL_USE_SSL = env.boolean("EMAIL_USE_SSL", False)
if EMAIL_USE_TLS and EMAIL_USE_SSL:
    raise env.SettingError("EMAIL_USE_TLS and EMAIL_USE_SSL exclude each other.")
DEFAULT_FROM_EMAIL = env.text("DEFAULT_FROM_EMAIL", "kubegale@localhost")

# --- Collector ------------------------------------------------------------------------------------
LISTS_FROM_STORE = env.boolean("LISTS_FROM_STORE", True)
WATCHES_PER_USER = env.integer("WATCHES_PER_USER", 20)
# What `manage.py rotate_keys` rewrites in addition to the encrypted fields of models.
KEY_ROTATIONS = ["storage_api.services.protection.reprotect"]
CLUSTER_WRITE_OBSERVER = "storage_api.services.sync.record_write"
COLLECTOR_EXCLUDE = env.words("COLLECTOR_EXCLUDE", "leases.coordination.k8s.io")
COLLECTOR_NAMESPACE_WATCHES = env.integer("COLLECTOR_NAMESPACE_WATCHES", 500)

# --- Streams --------------------------------------------------------------------------------------
WS_ALLOWED_ORIGINS = [origin.rstrip("/").lower() for origin in env.words("WS_ALLOWED_ORIGINS")]
LOG_STREAMS_PER_USER = env.integer("LOG_STREAMS_PER_USER", 50)
LOG_SOURCES_PER_USER = env.integer("LOG_SOURCES_PER_USER", 200)
TERMINALS_PER_USER = env.integer("TERMINALS_PER_USER", 10)
TERMINAL_IDLE_SECONDS = env.number("TERMINAL_IDLE_SECONDS", 600.0)
TERMINAL_HOLD_SECONDS = env.number("TERMINAL_HOLD_SECONDS", 90.0)
TERMINAL_RECORDING = env.choice("TERMINAL_RECORDING", "asked", ("off", "asked", "always"))
TERMINAL_RECORDING_BYTES = env.integer("TERMINAL_RECORDING_BYTES", 20 * 1024 * 1024)
TERMINAL_RECORDING_SEARCH_BYTES = env.integer("TERMINAL_RECORDING_SEARCH_BYTES", 32 * 1024 * 1024)
TERMINAL_RECORDING_DAYS = env.integer("TERMINAL_RECORDING_DAYS", 30)
# Images of debug containers: `*` is anything but a slash, `**` anything; none is every image.
DEBUG_IMAGES = env.words("DEBUG_IMAGES")
NODE_TERMINAL_IMAGE = env.text("NODE_TERMINAL_IMAGE", "busybox:1.37")
NODE_TERMINAL_NAMESPACE = env.text("NODE_TERMINAL_NAMESPACE", "kube-system")
NODE_TERMINAL_SECONDS = env.integer("NODE_TERMINAL_SECONDS", 4 * 3600)

# --- Probes ---------------------------------------------------------------------------------------
# The file that a worker or collector touches as long as it works.
HEARTBEAT_FILE = env.text("HEARTBEAT_FILE")

# --- Telemetry ------------------------------------------------------------------------------------
# The OpenTelemetry SDK reads the other OTEL_* variables itself.
OTEL_EXPORTER_OTLP_ENDPOINT = env.http_address("OTEL_EXPORTER_OTLP_ENDPOINT")
# --- Files of containers --------------------------------------------------------------------------
FILES_DENY = env.words(
    "FILES_DENY",
    "/proc,/sys,/dev,/var/run/secrets/kubernetes.io,/run/secrets/kubernetes.io",
)
for _path in FILES_DENY:
    if not _path.startswith("/") or posixpath.normpath(_path) != _path or _path == "/":
        raise env.SettingError(
            f"FILES_DENY must be absolute paths in their normal form, not {_path!r}."
        )
FILES_UPLOAD_BYTES = env.integer("FILES_UPLOAD_BYTES", 100 * 1024 * 1024)
FILES_DOWNLOAD_BYTES = env.integer("FILES_DOWNLOAD_BYTES", 1024 * 1024 * 1024)
FILES_TRANSFERS = env.integer("FILES_TRANSFERS", 8)
FILES_TRANSFERS_PER_USER = env.integer("FILES_TRANSFERS_PER_USER", 2)
FILES_DEBUG_IMAGE = env.text("FILES_DEBUG_IMAGE", "busybox:1.37")

# --- Logs -----------------------------------------------------------------------------------------
LOG_FORMAT = env.choice("LOG_FORMAT", "json", ("json", "text"))
LOGGING_CONFIG = "kubegale.observability.configure_logging"
LOGGING = {"level": env.text("LOG_LEVEL", "INFO"), "format": LOG_FORMAT}
