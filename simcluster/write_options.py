"""How an object is written: what the query parameters of a write request say."""

from dataclasses import dataclass, field


@dataclass
class WriteOptions:
    """Options of one create, update, patch or delete, and the warnings that it collects.

    `manager` is the field manager, `validation` one of Ignore, Warn and Strict, `force` takes over
    fields of other managers in server-side apply, `body` is the request's body as it came.
    """

    manager: str = "kube-controller-manager"
    dry_run: bool = False
    validation: str = "Warn"
    force: bool = False
    subresource: str = ""
    body: bytes = b""
    warnings: list[str] = field(default_factory=list)
