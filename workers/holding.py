"""The partitions that one drain holds: the leases, and the flags that ring for them (DESIGN 1).

A drain takes what it is called for and every rung partition that nobody holds, also while it works: partitions that are rung
while others keep it busy must not wait for its end. Where several workers live, each takes its share and leaves the rest to the
others; what is still rung after `LEFT_S` nobody has come for, and it is taken whatever the share.
"""

import contextlib
import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from models.errors import DatabaseAway
from models.store import claims
from models.store.holders import holder_token
from models.store.session import session_scope

if TYPE_CHECKING:
    from workers.drain import Tools

LEFT_S = 0.25
COUNTED_S = 5.0
"""For so long the number of workers is believed."""


class WorkerCount:
    """How many workers there are, asked of Redis now and then."""

    def __init__(self) -> None:
        self._asked_at = float("-inf")
        self._workers = 1

    def now(self, tools: "Tools") -> int:
        """Workers that have reported lately, ourselves included; 1 while Redis is away."""
        if time.monotonic() - self._asked_at > COUNTED_S:
            self._workers = max(1, tools.bell.worker_count() or 1)
            self._asked_at = time.monotonic()
        return self._workers


class Holding:
    """`held` are the partitions whose lease is ours."""

    def __init__(self, tools: "Tools") -> None:
        self._tools = tools
        self._token = holder_token()
        self._count = tools.settings.partition_count
        self._try_at: dict[int, float] = {}
        self.held: set[int] = set()

    def take(self, asked: Collection[int]) -> bool:
        """Take what was asked for, and of what is rung beside it as much as our share allows. Whether anything is ours."""
        self.held = set()
        self._try_at = {}
        self._acquire(sorted(asked))
        with contextlib.suppress(Exception):  # Redis is away: the partitions we were called for are enough
            self._join(self._tools.bell.rung() - self.held)
        return bool(self.held)

    def look(self) -> bool:
        """Clear our flags before the claim, so that who commits from now on rings anew, and take what else is rung. Whether
        rows of a lower `seq` than any claimed before may be waiting."""
        try:
            was_set, others = self._tools.bell.look(self.held, self._count)
            if joined := self._join(others):
                self._tools.bell.look(joined, 0)
                was_set = True
        except DatabaseAway:
            raise
        except Exception:  # Redis is away
            return True
        return was_set

    def _join(self, rung: set[int]) -> set[int]:
        """Take those of `rung` that it is time for, unless somebody holds them. Which are ours now."""
        now = time.monotonic()
        room = self._room() if rung else 0
        for partition in sorted(rung - self._try_at.keys()):
            self._try_at[partition] = now if room > 0 else now + LEFT_S
            room -= 1
        ready = sorted(partition for partition in rung if self._try_at[partition] <= now)
        self._try_at = {partition: at for partition, at in self._try_at.items() if partition in rung}
        if not ready:
            return set()
        taken = self._acquire(ready)
        for partition in ready:
            self._try_at[partition] = now + LEFT_S
        return taken

    def _room(self) -> int:
        """How many more partitions are our share."""
        return -(-self._count // self._tools.worker_count.now(self._tools)) - len(self.held)

    def _acquire(self, wanted: Collection[int]) -> set[int]:
        now_ms, lasts_ms = self._tools.now_ms(), self._tools.settings.lease_ms
        with session_scope(self._tools.database) as connection:
            names = claims.leases_to_take(connection, {_lease(partition) for partition in wanted}, self._token, now_ms)
        free = [partition for partition in sorted(wanted) if _lease(partition) in names]
        if not free:
            return set()
        with session_scope(self._tools.database, write=True) as connection:
            taken = {
                partition
                for partition in free
                if claims.acquire_lease(connection, _lease(partition), self._token, now_ms, lasts_ms)
            }
        self.held |= taken
        return taken

    def prove(self, connection: Connection) -> None:
        """Prove inside a write transaction that all of it is still ours, and keep it longer.

        Raises:
            LostLease: it isn't.
        """
        leases = {_lease(partition) for partition in self.held}
        claims.renew_leases(connection, leases, self._token, self._tools.now_ms(), self._tools.settings.lease_ms)

    def release(self) -> None:
        """Give it all back; `held` stays to be looked at. Then clear the flags once more: a job that came while we held its
        partition found nothing to do, and with the flag it left nobody would be called again."""
        if not self.held:
            return
        with contextlib.suppress(DatabaseAway), session_scope(self._tools.database, write=True) as connection:
            claims.release_leases(connection, {_lease(partition) for partition in self.held}, self._token)
        with contextlib.suppress(Exception):  # Redis is away
            self._tools.bell.look(self.held, 0)


def _lease(partition: int) -> str:
    return f"partition:{partition}"
