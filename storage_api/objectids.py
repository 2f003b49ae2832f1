"""Document ids: 24 lower-case hex digits of time, process and counter, as MongoDB makes them."""

import os
import secrets
import time
from itertools import count

_counter = count(secrets.randbelow(1 << 24))
_process = secrets.token_hex(5)


def _renew() -> None:
    global _process
    _process = secrets.token_hex(5)


# A forked worker must not repeat its parent's ids.
os.register_at_fork(after_in_child=_renew)


def new_object_id() -> str:
    """A fresh id; ids of one process sort by age."""
    return f"{int(time.time()):08x}{_process}{next(_counter) & 0xFFFFFF:06x}"
