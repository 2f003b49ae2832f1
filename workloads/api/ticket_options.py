"""The options of a ticket, out of body or query."""

from typing import Any

from rest_framework.request import Request

from core.api.parsing import boolean, integer
from core.errors import Invalid
from workloads.api.request_target import RequestTarget

# Tickets are stored in Redis, so what a caller puts into one is bounded.
MAX_OPTION = 8 * 1024


def _check_length(value: Any, name: str) -> Any:
    """The value of an option; Invalid when it is too long for a ticket."""
    parts = value if isinstance(value, list) else [value]
    length = len(parts) + sum(len(part) for part in parts if isinstance(part, str | list | dict))
    if length > MAX_OPTION:
        raise Invalid(f"{name} is longer than {MAX_OPTION} characters", field=name)
    return value


class TicketOptions:
    """A ticket's options out of body or query, each checked; Invalid for a wrong type."""

    def __init__(self, target: RequestTarget, request: Request) -> None:
        self._body = target.body
        self._query = request.query_params

    def value(self, *names: str) -> Any:
        """The first option that is set; None when none is."""
        for name in names:
            value = self._body.get(name, self._query.get(name))
            if value not in (None, ""):
                return _check_length(value, name)
        return None

    def text(self, *names: str) -> str:
        """An option as text; "" without one."""
        value = self.value(*names)
        if value is not None and not isinstance(value, str | int | float):
            raise Invalid(f"{names[0]} must be text", field=names[0])
        return "" if value is None else str(value)

    def comma_list(self, name: str) -> str:
        """Words joined by commas, from such a text or from a list; a number as text."""
        if isinstance(self.value(name), list):
            return ",".join(self.words(name))
        return self.text(name)

    def number(self, name: str, *aliases: str) -> int | None:
        """A whole number from 0 on."""
        value = self.value(name, *aliases)
        return None if value is None else integer(value, name, minimum=0, maximum=10**9)

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean."""
        value = self.value(name)
        return default if value is None else boolean(value, name)

    def words(self, *names: str) -> list[str]:
        """The words of a list, or of a text with commas."""
        value = self.value(*names)
        words = value.split(",") if isinstance(value, str) else value or []
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise Invalid(f"{names[0]} must be names", field=names[0])
        return [word.strip() for word in words if word.strip()]

    def command(self) -> list[str]:
        """What to run instead of the default shell; [] for the default.

        `command` is a list of arguments, `shell` the name of one program.
        """
        command = self.value("command")
        is_word_list = isinstance(command, list) and all(isinstance(part, str) for part in command)
        if command is not None and not (is_word_list and command):
            raise Invalid("command must be a list of texts", field="command")
        # No program can be given a NUL: the container's runtime would refuse it in its own words.
        if command and any("\0" in part for part in command):
            raise Invalid("command contains a NUL character", field="command")
        if command:
            return list(command)
        shell = self.text("shell")
        if "\0" in shell:
            raise Invalid("shell contains a NUL character", field="shell")
        return [shell] if shell else []
