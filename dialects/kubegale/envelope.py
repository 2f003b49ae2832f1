"""The envelope of the KubeGale document: {"code","data","msg"}, error table, parameter names."""

from django.conf import settings
from django.utils.translation import get_language

from clusters.kinds import KINDS
from core import errors
from core.api import confirmation
from core.api.dialect import Dialect, Page
from core.api.inner_calls import STATUS_OF_CODE
from core.api.schema import INTEGER, OBJECT, TEXT, Schema, array, record, with_title

# Error class, code, sentence in Chinese. The first class that matches wins: subclasses stand first.
CODES: tuple[tuple[type[errors.DomainError], int, str], ...] = (
    (errors.ClusterNotFound, 1002, "集群不存在"),
    (errors.NamespaceNotFound, 1003, "命名空间不存在"),
    (errors.NotFound, 1004, "资源不存在"),
    (errors.Forbidden, 1005, "权限不足"),
    (errors.ClusterUnavailable, 1006, "集群连接失败"),
    (errors.ConfirmationRequired, 1010, "需要确认"),
    (errors.TokenExpired, 2002, "Token 过期"),
    (errors.Unauthenticated, 2001, "认证失败"),
    (errors.Internal, 5001, "内部服务器错误"),
)
# What the API server refused, by the method of the request.
REFUSED = {
    "POST": (1007, "资源创建失败"),
    "PUT": (1008, "资源更新失败"),
    "PATCH": (1008, "资源更新失败"),
    "DELETE": (1009, "资源删除失败"),
}
BAD_INPUT = (1001, "参数错误")


def code_of(error: errors.DomainError, method: str) -> tuple[int, str]:
    """The document's code for an error, and its sentence in Chinese."""
    for kind, code, sentence in CODES:
        if isinstance(error, kind):
            return code, sentence
    # Only what an API server answered has a "status".
    if isinstance(error, errors.Rejected | errors.Expired) or "status" in error.details:
        return REFUSED.get(method, BAD_INPUT)
    return BAD_INPUT


def http_status(error: errors.DomainError, code: int) -> int:
    """200 for business errors, unless HTTP_STATUS_MODE is semantic.

    Authentication, routing and throttling always have their own status.
    """
    match error:
        case errors.Unauthenticated():
            return 401
        case errors.RouteNotFound():
            return 404
        case errors.MethodNotAllowed() if "status" not in error.details:
            return 405
        case errors.TooManyRequests() if "status" not in error.details:
            return 429
        case errors.Internal():
            return 500
        case errors.Conflict() if settings.HTTP_STATUS_MODE == "semantic":
            return 409
    return STATUS_OF_CODE[code] if settings.HTTP_STATUS_MODE == "semantic" else 200


def _error(error: errors.DomainError, method: str) -> tuple[int, object]:
    code, sentence = code_of(error, method)
    message = error.message
    if (get_language() or "").startswith("zh"):
        message = f"{sentence}: {message}"
    return http_status(error, code), {"code": code, "data": dict(error.details), "msg": message}


def _page_answer(page: Page) -> object:
    data = {
        **page.extra,
        "items": page.items,
        "total": page.total,
        "page": page.page,
        "pageSize": page.page_size,
    }
    return _object_answer(data)


def _object_answer(data: object) -> object:
    return {"code": 0, "data": data, "msg": "success"}


def _answer_schema(data: Schema, code: Schema) -> Schema:
    return record(code=code, data=data, msg=TEXT)


_ERROR_CODES = {code for _, code, _ in CODES}
_REFUSAL_CODES = {code for code, _ in REFUSED.values()}
FAILURE_CODE: Schema = {
    "type": "integer",
    "enum": sorted({BAD_INPUT[0]} | _ERROR_CODES | _REFUSAL_CODES),
    "description": "; ".join(
        [
            "1001 bad input",
            "1002 no such cluster",
            "1003 no such namespace",
            "1004 no such object or route",
            "1005 not allowed",
            "1006 the cluster does not answer",
            "1007, 1008, 1009 the cluster refused to create, change, delete",
            "1010 to be confirmed first",
            "2001 not signed in",
            "2002 token expired",
            "5001 internal error",
        ]
    ),
}


def _envelope(data: Schema, paged: bool) -> Schema:
    if paged:
        data = record(
            items=array(data),
            total=INTEGER,
            page=INTEGER,
            pageSize=INTEGER,
        )
    return _answer_schema(data, {"type": "integer", "enum": [0]})


DIALECT = Dialect(
    name="kubegale",
    one=_object_answer,
    page=_page_answer,
    error=_error,
    params={"cluster_id": "cluster", "clusterId": "cluster", "namespace": "namespace"},
    envelope=_envelope,
    error_schema=with_title("Failure", _answer_schema(OBJECT, FAILURE_CODE)),
    error_status=200,
    kinds={kind.plural: kind.name for kind in KINDS.values()},
    spoken=frozenset(confirmation.NAMES),
    reads_bodies=True,
)
