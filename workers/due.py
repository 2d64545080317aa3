"""What is due without an event: customers behind the mirror, at a date that changes them, or touched by a fan-out."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from models.errors import Conflict, DatabaseAway, LostLease
from models.store import claims, customers
from models.store.connections import ConnectionRecord, load_connections
from models.store.failpoints import fp
from models.store.logs import log
from models.store.session import session_scope
from workers import recompute

if TYPE_CHECKING:
    from workers.drain import Tools

CHUNK = 200
TRIES = 4
LONGEST_MS = 300_000
_ENVIRONMENT = {"live": "production", "test": "staging"}


Key = tuple[int, str] | int
"""A Stripe customer (connection, id) or a customer of ours."""


class PutOff:
    """What failed lately, and until when this process leaves it alone: 2 s, then ever longer, at most 5 min. In the database it
    stays due, so that it is tried again whatever becomes of us, and meanwhile it keeps nobody from his turn."""

    def __init__(self) -> None:
        self._failures: dict[Key, tuple[int, int]] = {}

    def at(self, now_ms: int) -> set[Key]:
        """What is to be left alone now."""
        return {key for key, (_, until_ms) in self._failures.items() if until_ms > now_ms}

    def failed(self, keys: Iterable[Key], now_ms: int) -> None:
        """It failed again."""
        for key in keys:
            times = self._failures.get(key, (0, 0))[0] + 1
            self._failures[key] = (times, now_ms + min(1000 * 2 ** min(times, 20), LONGEST_MS))

    def worked(self, keys: Iterable[Key]) -> None:
        """It is through."""
        for key in keys:
            self._failures.pop(key, None)


def recompute_due(tools: "Tools", prove: Callable[[Connection], None]) -> int:
    """Recompute one chunk of what is due; returns how many of our customers were computed.

    `prove` is called first inside the write transaction (the drain's lease). A conflict leaves the chunk for the next round.
    """
    now_ms = tools.now_ms()
    with session_scope(tools.database) as connection:
        left = tools.put_off.at(now_ms)
        limit = CHUNK + len(left)
        stripe = [one for one in customers.due_stripe_customers(connection, limit) if one[:2] not in left][:CHUNK]
        ours = [key for key in customers.due_ids(connection, now_ms // 1000, limit) if key not in left][:CHUNK]
        if not stripe and not ours:
            return 0
        records = load_connections(connection)
        environment_of = customers.environments(connection, ours)
    done = 0
    for record in records:
        causes: dict[str, set[str]] = {}
        for connection_id, stripe_id, cause in stripe:
            if connection_id == record.id:
                causes.setdefault(cause, set()).add(stripe_id)
        mine = {key for key in ours if environment_of.get(key) == _ENVIRONMENT[record.mode]}
        if mine:
            causes.setdefault("clock", set())
        for cause in sorted(causes):
            done += _chunk(tools, prove, record, stripe=causes[cause], ours=mine if cause == "clock" else set(), cause=cause)
    without = set(ours) - {key for key in ours if any(_ENVIRONMENT[r.mode] == environment_of.get(key) for r in records)}
    if without:  # nobody could compute them: there is no connection of their mode
        with session_scope(tools.database, write=True) as connection:
            customers.settle(connection, without)
    return done


def _chunk(
    tools: "Tools",
    prove: Callable[[Connection], None],
    record: ConnectionRecord,
    *,
    stripe: set[str],
    ours: set[int],
    cause: str,
) -> int:
    for _ in range(TRIES):
        try:
            return _once(tools, prove, record, stripe=stripe, ours=ours, cause=cause)
        except Conflict:
            continue
        except (LostLease, DatabaseAway):
            raise
        except Exception as error:  # whatever one customer does must not stop the others (F59)
            if len(stripe) + len(ours) > 1:
                return sum(
                    _chunk(tools, prove, record, stripe=part[0], ours=part[1], cause=cause) for part in _halves(stripe, ours)
                )
            log.error("due_failed", object=next(iter([*stripe, *map(str, ours)])), problem=type(error).__name__)
            tools.put_off.failed([*((record.id, key) for key in stripe), *ours], tools.now_ms())
            return 0
    return 0


def _halves(stripe: set[str], ours: set[int]) -> list[tuple[set[str], set[int]]]:
    if stripe and ours:
        return [(stripe, set()), (set(), ours)]
    ids, numbers = sorted(stripe), sorted(ours)
    return [
        (set(ids[: len(ids) // 2]), set(numbers[: len(numbers) // 2])),
        (set(ids[len(ids) // 2 :]), set(numbers[len(numbers) // 2 :])),
    ]


def _once(
    tools: "Tools",
    prove: Callable[[Connection], None],
    record: ConnectionRecord,
    *,
    stripe: set[str],
    ours: set[int],
    cause: str,
) -> int:
    now_ms = tools.now_ms()
    with session_scope(tools.database) as connection:
        loaded = recompute.load(connection, record, stripe, customer_ids=ours)
    computed = recompute.compute(loaded, now=now_ms // 1000, now_ms=now_ms, cause=cause)
    fp("before_due_write")
    with session_scope(tools.database, write=True) as connection:
        prove(connection)
        recompute.check_rules(connection, loaded, changing=False)
        customers.settle_due(connection, record.id, stripe - loaded.touched)
        recompute.save(connection, computed, now_ms=now_ms, checked=True)
        claims.add_counts(connection, [("recomputes", computed.size)], _day(now_ms))
        fp("before_commit_of_due")
    tools.put_off.worked([*((record.id, key) for key in stripe), *(ours - computed.failed.keys())])
    tools.put_off.failed(computed.failed, now_ms)
    fp("after_due_write")
    return computed.size


def _day(now_ms: int) -> str:
    import time

    return time.strftime("%Y-%m-%d", time.gmtime(now_ms // 1000))
