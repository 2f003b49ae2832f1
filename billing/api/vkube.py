"""The V-Kube document's calls (contract vkube.md)."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, cast

import orjson
from django.conf import settings
from django.http import StreamingHttpResponse
from django.utils.module_loading import import_string
from rest_framework.request import Request
from rest_framework.response import Response

from billing import containers, images, registry, tasks
from billing.containers import EMPTY
from billing.logstreams import OrderLogStream
from billing.models import Deployment, Order
from billing.registry import ImageChecker
from billing.services import deployments, expiry, orders, pods, regions
from billing.throttles import PublicThrottle, WrongSecretThrottle
from core import clock
from core.api import audit, long_lived
from core.api.auth import AccessAttributes
from core.api.dialect import DialectView
from core.api.parsing import boolean, integer, json_body, know_caller
from core.api.schema import (
    BOOLEAN,
    INTEGER,
    OBJECT,
    TEXT,
    OperationSchema,
    QueryParameter,
    array,
    record,
)
from core.errors import DomainError, Internal, Invalid, NotFound, Unauthenticated
from core.times import rfc3339
from workloads.objects.logs import LogOptions

MAX_TAIL = 10_000_000


@lru_cache(maxsize=4)
def _checker(dotted: str) -> ImageChecker:
    return cast(ImageChecker, import_string(dotted)())


class VKubeView(DialectView):
    """What the document's calls share: no sign-in."""

    public = True
    authentication_classes = []

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Adapt the response to the document.

        The secret is no HTTP authentication scheme, so no WWW-Authenticate is sent; with
        VKUBE_BARE_ERRORS an internal error is plain text.
        """
        final = super().finalize_response(request, response, *args, **kwargs)
        if final.has_header("WWW-Authenticate"):
            del final["WWW-Authenticate"]
        if isinstance(final, Response) and final.status_code == 500 and settings.VKUBE_BARE_ERRORS:
            final.content_type = "text/plain; charset=utf-8"
        return final


class OrderSecretView(VKubeView):
    """Calls that need the header `secret`; `order` is its order, ended first when it is time."""

    own_credentials = True
    order: Order

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Find the order of the secret.

        Unauthenticated or TooManyRequests before anything else, also for methods that do not exist.
        """
        super().initial(request, *args, **kwargs)
        # An order ends on time even when the periodic task is late.
        self.order = expiry.settle_if_over(self._order_of_secret(request))
        know_caller(request)
        # The body of a POST is checked after its audit line is begun.
        if request.method == "GET":
            self.check_input(request)

    def recheck(self, request: Request) -> long_lived.Check:
        """Whether the secret still opens the order, and the order still runs."""
        secret = request.headers.get("secret", "").strip()
        order_id = self.order.pk

        def check() -> None:
            order = expiry.settle_if_over(orders.find_by_secret(secret))
            if order.pk != order_id:
                raise Unauthenticated("secret invalid")

        return check

    @staticmethod
    def _order_of_secret(request: Request) -> Order:
        secret = request.headers.get("secret", "").strip()
        try:
            return orders.find_by_secret(secret)
        except Unauthenticated:
            # A forgotten header is no guess at a secret.
            if secret:
                WrongSecretThrottle().count_failure(request)
            raise


class Regions(VKubeView):
    """GET /k8s/regions -> ["region1", …]; a failure is [] too."""

    operations = {"get": OperationSchema("Regions that can be deployed to", array(TEXT))}

    throttle_classes = [PublicThrottle]

    def get(self, request: Request) -> Any:
        """The regions in which something can be deployed."""
        return regions.list_regions_or_none()


class Images(VKubeView):
    """GET /k8s/images?image=&tag= -> {"status":"OK"}."""

    operations = {
        "get": OperationSchema(
            "Whether an image exists",
            record(status=TEXT),
            query=(
                QueryParameter("image", TEXT, required=True),
                QueryParameter("tag", TEXT, required=True),
            ),
        )
    }

    throttle_classes = [PublicThrottle]

    def get(self, request: Request) -> Any:
        """{"status":"OK"} when the registry has the image; NotFound otherwise."""
        image = images.parse(request.query_params.get("image", ""))
        tag = images.check_tag(request.query_params.get("tag", ""))
        credentials = registry.decode_credentials(
            request.headers.get("Username"), request.headers.get("Password")
        )
        if not _checker(settings.IMAGE_CHECKER).exists(image, tag, credentials):
            raise NotFound("image does not exist.")
        return {"status": "OK"}


class CheckPorts(VKubeView):
    """POST /k8s/checkports {"region","ports"} -> {"occupied":[…],"status":…}."""

    operations = {
        "post": OperationSchema(
            "Which host ports are taken",
            record(occupied=array(INTEGER), status=TEXT),
            body=record(region=TEXT, ports={"oneOf": [array(INTEGER), INTEGER]}),
            also_body=("userServiceID",),
        )
    }

    throttle_classes = [PublicThrottle]

    def post(self, request: Request) -> Any:
        """Which of the ports are taken in the region."""
        try:
            body = json_body(request, empty_ok=False)
        # Every fault of this body is the document's one error.
        except DomainError:
            raise Invalid(EMPTY) from None
        region = _parse_region(body.get("region"))
        ports = _parse_ports(body.get("ports"))
        status, occupied = regions.check_ports(region, ports)
        return {"occupied": occupied, "status": status}


def _parse_region(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or "\x00" in value:
        raise Invalid(EMPTY)
    return value.strip()


def _parse_ports(value: object) -> list[int]:
    """A list of ports, one port, or digits, each once and in order."""
    entries = value if isinstance(value, list) else [value]
    if not entries:
        raise Invalid(EMPTY)
    numbers: list[int] = []
    for entry in entries:
        # Other digits of Unicode pass isdigit(), and int() reads them.
        if isinstance(entry, str) and entry.strip().isascii() and entry.strip().isdigit():
            entry = int(entry)
        # In Python a bool is an int; in JSON it is not.
        if isinstance(entry, bool) or not isinstance(entry, int):
            raise Invalid(EMPTY)
        numbers.append(entry)
    # Ranges are checked last: EMPTY for any entry comes before "port out of range".
    return list(dict.fromkeys(containers.parse_port(number, "ports") for number in numbers))


class OrderView(OrderSecretView):
    """GET /k8s/order -> the order."""

    operations = {"get": OperationSchema("The order that the secret opens", OBJECT, query=())}

    def get(self, request: Request) -> Any:
        """The document's sixteen members, in its order."""
        return represent(self.order)


def represent(order: Order) -> dict[str, Any]:
    """An order as the document shows it; times are Unix seconds, the expiry RFC 3339 UTC or ""."""
    options = {
        "portSpecification": order.ports,
        "resourceUnit": f"{order.units}-Unit-Resource",
    }
    if order.region:
        options["region"] = order.region
    return {
        "createdAt": int(order.created_at.timestamp()),
        "updatedAt": int(order.updated_at.timestamp()),
        "duration": order.duration,
        "serviceExpiredDate": rfc3339(order.expires_at) or "",
        "amount": int(order.amount),
        "amountPaid": int(order.amount_paid),
        "serviceID": order.plan.service_id,
        "service": "Container Service",
        "serviceCategoryID": order.plan.category_id,
        "provider": settings.VKUBE_PROVIDER,
        "address": order.address,
        "recipient": order.recipient,
        "id": order.pk,
        "serviceOptions": options,
        "status": order.status,
        "publicKey": order.public_key,
    }


WORDS: Any = {"oneOf": [TEXT, array(TEXT)]}
CONTAINER = record(
    required=("name", "imageName", "resource"),
    name=TEXT,
    imageName=TEXT,
    ports=array(
        record(required=("containerPort",), containerPort=INTEGER, hostPort=INTEGER, protocol=TEXT)
    ),
    resource=record(memory=TEXT),
    resourceUnit={},
    command=WORDS,
    args=WORDS,
    envs=array(record(name=TEXT, value={})),
    mountPath=TEXT,
    configMap={},
    exposedPorts={},
)
DEPLOY = record(
    required=("containers",),
    nodeSelector=record(region=TEXT),
    containers=array(CONTAINER),
)


class Deploy(OrderSecretView):
    """POST /k8s/deploy {"nodeSelector","containers"} -> {"status":"OK","name":…}.

    The header X-Operation-Id names the Operation that waits for the pod.
    """

    operations = {
        "post": OperationSchema(
            "Run containers",
            record(status=TEXT, name=TEXT),
            body=DEPLOY,
            also_body=("name", "pvtLogin", "resourceUnit"),
        )
    }

    def members(self, request: Request) -> Mapping[str, Any]:
        """The members of the body, without a container's members that are empty.

        Some clients send those next to `containers`.
        """
        return {
            name: value
            for name, value in super().members(request).items()
            # Empty they change nothing; with a value the client expects an effect, and is refused.
            if name not in CONTAINER["properties"] or value not in (None, "", [], {})
        }

    def post(self, request: Request) -> Any:
        """Run the containers in place of what ran before."""
        _audit(request, self.order, "create")
        deployments.require_deployable(self.order, clock.now())
        self.check_input(request)
        deploy_request = self.parse(json_body(request))
        _check_images(deploy_request)
        return _deploy_response(deployments.deploy(self.order, deploy_request))

    def parse(self, body: dict[str, Any]) -> containers.DeployRequest:
        """The deploy that the document's body asks for; Invalid."""
        return containers.parse(body, self.order)


PUBLISHED_CONTAINER = record(
    required=("name", "imageName"),
    name=TEXT,
    imageName=TEXT,
    ports=array(
        record(required=("containerPort",), containerPort=INTEGER, hostPort=INTEGER, protocol=TEXT)
    ),
    resource=record(memory=TEXT),
    resourceUnit={"oneOf": [INTEGER, TEXT]},
    command=WORDS,
    args=WORDS,
    envs=array(record(name=TEXT, value={})),
    mountPath=TEXT,
    configMap={"type": "object", "additionalProperties": TEXT},
    exposedPorts=array({}),
)
PUBLISHED_DEPLOY = record(
    required=("containers",),
    nodeSelector=record(region=TEXT),
    containers=array(PUBLISHED_CONTAINER),
    pvtLogin=array(record(username=TEXT, password=TEXT)),
)


class PublishedDeploy(Deploy):
    """POST /k8s/deployment and /k8s/deployment/update: `Deploy` for V-Kube's published client.

    A container's memory is `resourceUnit` (Gi) or `resource`; `configMap` is files by mount path;
    `pvtLogin` has the login for the registry of each container's image, in order.
    """

    operations = {
        "post": OperationSchema(
            "Run containers, as the published client asks for them",
            record(status=TEXT, name=TEXT),
            body=PUBLISHED_DEPLOY,
            also_body=("name",),
        )
    }

    def parse(self, body: dict[str, Any]) -> containers.DeployRequest:
        """The deploy that the body asks for; without a region, where the order runs now."""
        current = deployments.find_live(self.order)
        running = current.region if current else ""
        return containers.parse(
            body,
            self.order,
            published=True,
            running=running,
        )


def _audit(request: Request, order: Order, verb: str) -> None:
    namespace = settings.VKUBE_NAMESPACE
    name = str(order.service_name)
    audit.record(
        request, AccessAttributes(verb, "deployments", "apps", namespace=namespace, name=name)
    )
    audit.annotate(request, username=f"order {order.pk}")


def _deploy_response(row: Deployment) -> Response:
    """OK, with the id of the Operation that waits for the pod."""
    if row.operation:
        tasks.enqueue_rollout_watch(row.operation)
    answer = Response({"status": "OK", "name": row.name})
    answer["X-Operation-Id"] = str(row.operation or "")
    return answer


def _check_images(request: containers.DeployRequest) -> None:
    """With VKUBE_CHECK_IMAGES every image must exist in its registry; Invalid otherwise.

    A registry that does not answer is no reason to refuse a deploy.
    """
    if not settings.VKUBE_CHECK_IMAGES:
        return
    logins = {
        login.registry: registry.Credentials(login.username, login.password)
        for login in request.logins
    }
    for container in request.containers:
        name, tag = images.split_reference(container.image)
        image = images.parse(name)
        login = logins.get(image.registry or containers.DOCKER_HUB)
        try:
            exists = _checker(settings.IMAGE_CHECKER).exists(image, tag, login)
        except Internal:
            continue
        if not exists:
            raise Invalid("image does not exist.", field="imageName")


class UserService(OrderSecretView):
    """GET /k8s/userService -> the order, its `status` that of the service."""

    operations = {"get": OperationSchema("The service that the secret opens", OBJECT, query=())}

    def get(self, request: Request) -> Any:
        """The order's members; ServiceStop while the buyer has stopped its pod."""
        status: str = self.order.service
        if status == Order.Service.RUNNING:
            current = deployments.find_live(self.order)
            if current and current.stopped:
                status = "ServiceStop"
        return {**represent(self.order), "status": status}


class PodSwitch(OrderSecretView):
    """POST /k8s/pod/restart|stop|start -> {"status":"OK","name":…}."""

    operations = {
        "post": OperationSchema("Change whether the pod runs", record(status=TEXT, name=TEXT))
    }
    switch: Callable[[Order], Deployment]

    def post(self, request: Request) -> Any:
        """Restart, stop or start what runs; Conflict when nothing was deployed."""
        _audit(request, self.order, "update")
        deployments.require_deployable(self.order, clock.now())
        self.check_input(request)
        return _deploy_response(type(self).switch(self.order))


class OrderPodRestart(PodSwitch):
    """POST /k8s/pod/restart: a new pod."""

    operations = {"post": OperationSchema("Make a new pod", record(status=TEXT, name=TEXT))}
    switch = staticmethod(deployments.restart)


class OrderPodStop(PodSwitch):
    """POST /k8s/pod/stop: no pod, while the order's time goes on."""

    operations = {"post": OperationSchema("Stop the pod", record(status=TEXT, name=TEXT))}
    switch = staticmethod(deployments.stop)


class OrderPodStart(PodSwitch):
    """POST /k8s/pod/start: the pod that was stopped runs again."""

    operations = {"post": OperationSchema("Start the pod again", record(status=TEXT, name=TEXT))}
    switch = staticmethod(deployments.start)


LOG_QUERY = (
    QueryParameter("container", TEXT),
    QueryParameter("tailLines", INTEGER),
    QueryParameter("previous", BOOLEAN),
)


def _log_options(request: Request) -> LogOptions:
    query = request.query_params
    tail = query.get("tailLines") or query.get("tail")
    return LogOptions(
        container=query.get("container", ""),
        tail_lines=integer(tail, "tailLines", minimum=0, maximum=MAX_TAIL) if tail else None,
        previous=boolean(query.get("previous", False), "previous"),
    )


class OrderPodLog(OrderSecretView):
    """GET /k8s/pod/log -> the log as one JSON string.

    Optional parameters: container, tailLines (or tail) and previous.
    """

    operations = {"get": OperationSchema("The log of the pod", TEXT, query=LOG_QUERY)}

    def get(self, request: Request) -> Any:
        """The log of the order's pod."""
        return pods.read_log(self.order, _log_options(request))


class OrderPodLogs(OrderSecretView):
    """GET /k8s/pod/logs -> the log as server-sent events, one `data:` line each, as it grows."""

    operations = {
        "get": OperationSchema(
            "The log of the pod as it grows",
            TEXT,
            query=LOG_QUERY,
            answer_types=("text/event-stream",),
        )
    }

    def get(self, request: Request) -> Any:
        """A stream; TooManyRequests while VKUBE_LOG_STREAMS are open in this process."""
        stream = OrderLogStream(self.order, _log_options(request))
        response = StreamingHttpResponse(stream, content_type="text/event-stream")
        response["Cache-Control"] = "no-store"
        # nginx would otherwise collect events before it passes them on.
        response["X-Accel-Buffering"] = "no"
        return response


class OrderPodStatus(OrderSecretView):
    """GET /k8s/pod/status -> {"name","podStatus","podSpec","annotations"}, {} without a pod."""

    operations = {"get": OperationSchema("The pod, as the cluster prints it", OBJECT)}

    def get(self, request: Request) -> Any:
        """The order's pod, as the cluster prints it."""
        pod = pods.read_pod(self.order)
        if pod is None:
            return {}
        return {
            "name": pod.name,
            "podStatus": orjson.Fragment(pod.status),
            "podSpec": orjson.Fragment(pod.spec),
            "annotations": orjson.Fragment(pod.annotations),
        }
