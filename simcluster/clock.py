"""Time: real timestamps, and delays that a time scale shortens."""

import asyncio
import time
from datetime import UTC, datetime, timedelta


def timestamp(moment: datetime | None = None) -> str:
    """RFC 3339 to the second, as metadata carries it."""
    return (moment or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_timestamp(moment: datetime | None = None) -> str:
    """RFC 3339 to the microsecond, as events and leases carry it."""
    return (moment or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse(text: str) -> datetime:
    """Read either form of timestamp."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


class Clock:
    """The cluster's own time, `scale` times as fast as ours for everything that waits."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        self._started = time.monotonic()
        self._epoch = datetime.now(UTC)

    def real(self, seconds: float) -> float:
        """How long a simulated span takes in ours."""
        return seconds / self.scale

    async def sleep(self, seconds: float) -> None:
        """Wait a simulated span."""
        await asyncio.sleep(self.real(seconds))

    def since(self, stamp: str) -> float:
        """Simulated seconds since a timestamp that we wrote."""
        return (datetime.now(UTC) - parse(stamp)).total_seconds() * self.scale

    def simulated(self) -> datetime:
        """The moment that a schedule sees: it runs ahead of ours by the scale."""
        return self._epoch + timedelta(seconds=(time.monotonic() - self._started) * self.scale)
