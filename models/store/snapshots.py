"""What a recompute reads and writes: the facts of some customers in one snapshot, and their read model, guarded by version."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection

from models.domain.types import Change, Customer, Decision, Match, Summary
from models.errors import Conflict
from models.store import bulk
from models.store.failpoints import fp

_SUMMARY = msgspec.json.Decoder(Summary)


class Computed(NamedTuple):
    """The stored read model of one customer, as far as the next one depends on it."""

    id: int
    environment: str
    summary: Summary | None
    stored: str | None
    ever_positive: bool
    mirror_version: int
    computed_version: int
    as_of: int | None
    fx_date: str | None
    recompute_cause: str | None


class StoredMatch(NamedTuple):
    """The stored outcome of one Stripe customer; `base_*` before a decision."""

    stripe_customer_id: str
    outcome: str
    reason: str
    customer_id: int | None
    base_customer_id: int | None
    base_reason: str | None
    name: str | None
    email_domain: str | None
    mrr: int | None
    plan: str | None
    billed: bool
    due: bool
    version: int = 0


_MATCH = ", ".join(StoredMatch._fields)


def load_computed(connection: Connection, ids: Collection[int]) -> dict[int, Computed]:
    """Stored read models by customer."""
    sql = (
        "SELECT id, environment, summary, ever_positive, mirror_version, computed_version, as_of, fx_date, recompute_cause"
        " FROM customers WHERE id IN (*)"
    )
    found = {}
    for row in bulk.select_in(connection, sql, ids):
        summary = _SUMMARY.decode(row[2]) if row[2] else None
        found[row[0]] = Computed(row[0], row[1], summary, row[2], bool(row[3]), *row[4:])
    return found


def load_matches(connection: Connection, connection_id: int, stripe_ids: Collection[str]) -> dict[str, StoredMatch]:
    """Stored outcomes by Stripe customer."""
    sql = f"SELECT {_MATCH} FROM matches WHERE connection_id = ? AND stripe_customer_id IN (*)"
    rows = bulk.select_in(connection, sql, stripe_ids, [connection_id])
    return {row[0]: StoredMatch(*row) for row in rows}


def load_bases(connection: Connection, connection_id: int, stripe_ids: Collection[str]) -> dict[str, int | None]:
    """By Stripe customer that was ever matched: whose it is before any decision."""
    sql = "SELECT stripe_customer_id, base_customer_id FROM matches WHERE connection_id = ? AND stripe_customer_id IN (*)"
    return {row[0]: row[1] for row in bulk.select_in(connection, sql, stripe_ids, [connection_id])}


def load_matched_to(connection: Connection, connection_id: int, customer_ids: Collection[int]) -> dict[str, StoredMatch]:
    """Outcomes of all Stripe customers that belong to these customers, those that lost to a winner included."""
    sql = f"SELECT {_MATCH} FROM matches WHERE connection_id = ? AND base_customer_id IN (*)"
    rows = bulk.select_in(connection, sql, customer_ids, [connection_id])
    return {row[0]: StoredMatch(*row) for row in rows}


def load_links(connection: Connection, connection_id: int, stripe_ids: Collection[str]) -> dict[str, int]:
    """Open manual links by Stripe customer."""
    sql = (
        "SELECT stripe_customer_id, customer_id FROM links"
        " WHERE ended_at IS NULL AND connection_id = ? AND stripe_customer_id IN (*)"
    )
    return {row[0]: row[1] for row in bulk.select_in(connection, sql, stripe_ids, [connection_id])}


def load_decisions(connection: Connection, connection_id: int, customer_ids: Collection[int]) -> dict[int, Decision]:
    """Open decisions by customer."""
    sql = (
        "SELECT customer_id, kind, stripe_customer_id, known FROM decisions"
        " WHERE ended_at IS NULL AND connection_id = ? AND customer_id IN (*)"
    )
    return {
        row[0]: Decision(str(row[0]), row[1], row[2], tuple(json.loads(row[3])))
        for row in bulk.select_in(connection, sql, customer_ids, [connection_id])
    }


def lock_customers(connection: Connection, expected: Mapping[int, int], others: Collection[int] = ()) -> None:
    """Hold these customers' rows in sorted order and see that none moved since it was read (`mirror_version`). `others` are
    held with them, whatever their version.

    Raises:
        Conflict: one of them changed meanwhile; compute again.
    """
    share = " FOR UPDATE" if connection.dialect.name == "postgresql" else ""
    sql = f"SELECT id, mirror_version FROM customers WHERE id IN (*) ORDER BY id{share}"
    held = {row[0]: row[1] for row in bulk.select_in(connection, sql, {*expected, *others})}
    changed = [key for key, version in expected.items() if held.get(key) != version]
    if changed:
        raise Conflict(f"{len(changed)} customers changed meanwhile")


def save_summaries(connection: Connection, results: Sequence["Result"], now_ms: int) -> None:
    """The read models; rows whose figures didn't change only get their versions and evidence."""
    full = [result.row() for result in results if result.fresh]
    light = [result.light_row() for result in results if not result.fresh]
    bulk.update(connection, "customers", full, key=("id",))
    bulk.update(connection, "customers", light, key=("id",))
    changes = [
        {
            "customer_id": result.id, "at_ms": now_ms, "field": change.field, "kind": change.kind,
            "before": _json(change.before), "after": _json(change.after), "amount": change.amount,
            "cause": result.cause, "version": result.mirror_version + 1,
        }
        for result in results
        for change in result.changes
    ]  # fmt: skip
    fp("before_change_rows")
    bulk.upsert(connection, "customer_changes", changes, key=("id",), update=())
    fp("after_change_rows")


def save_evidence(connection: Connection, seconds: Mapping[int, int]) -> None:
    """Move `as_of` on: these customers' figures were seen to hold at that second (unix). Never back."""
    rows = [(second, key, second) for key, second in sorted(seconds.items())]
    if rows:
        sql = "UPDATE customers SET as_of = ? WHERE id = ? AND (as_of IS NULL OR as_of < ?)"
        connection.exec_driver_sql(sql.replace("?", bulk.mark(connection)), rows)


def _json(value: object) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


class Result(NamedTuple):
    """A recomputed customer, ready to be stored. `fresh`: the summary differs from the stored one."""

    id: int
    summary: Summary
    stored: str
    fresh: bool
    changes: tuple[Change, ...]
    cause: str
    mirror_version: int
    ever_positive: bool
    as_of: int | None
    changed_ms: int

    def light_row(self) -> dict[str, Any]:
        """The columns that move with every recompute."""
        return {
            "mirror_version": self.mirror_version + 1, "computed_version": self.mirror_version + 1, "as_of": self.as_of,
            "next_change_at": self.summary.next_change_at, "recompute_cause": None, "id": self.id,
        }  # fmt: skip

    def row(self) -> dict[str, Any]:
        """All columns of the read model."""
        summary = self.summary
        return {
            "plan": summary.plan, "plan_label": summary.plan_label, "mrr": summary.mrr,
            "payment_status": summary.payment_status, "billing_started_at": summary.billing_started_at,
            "stripe_customer_id": summary.stripe_customer_id, "headline": summary.headline,
            "flags": msgspec.json.encode(summary.flags).decode(), "summary": self.stored, "fx_date": summary.fx_date,
            "ever_positive": self.ever_positive, "changed_ms": self.changed_ms,
        } | self.light_row()  # fmt: skip


def save_matches(
    connection: Connection, connection_id: int, rows: Sequence[StoredMatch], hosts: Mapping[str, Collection[str]]
) -> None:
    """Outcomes, and the strings each match depends on. A row's `version` is one above the stored one, or 1 for a new row.

    Raises:
        Conflict: a match was written, or made due, since it was read; load and compute again.
    """
    written = bulk.upsert(
        connection, "matches",
        [{"connection_id": connection_id, **row._asdict(), "due_cause": None}
         for row in sorted(rows, key=lambda row: row.stripe_customer_id)],
        key=("connection_id", "stripe_customer_id"), guard="old.version = new.version - 1",
    )  # fmt: skip
    if written != len(rows):
        raise Conflict(f"{len(rows) - written} of {len(rows)} matches changed meanwhile")
    if not hosts:
        return
    held: dict[str, set[str]] = {}
    sql = "SELECT stripe_customer_id, host FROM match_hosts WHERE connection_id = ? AND stripe_customer_id IN (*)"
    for row in bulk.select_in(connection, sql, hosts.keys(), [connection_id]):
        held.setdefault(row[0], set()).add(row[1])
    moved = {key: set(wanted) for key, wanted in hosts.items() if held.get(key, set()) != set(wanted)}
    for part in bulk.chunks(sorted(moved)):
        marks = ", ".join("?" * len(part))
        sql = f"DELETE FROM match_hosts WHERE connection_id = ? AND stripe_customer_id IN ({marks})"
        bulk.run(connection, sql, [connection_id, *part])
    lines = [
        {"connection_id": connection_id, "host": host, "stripe_customer_id": key}
        for key in sorted(moved)
        for host in sorted(moved[key])
    ]
    bulk.upsert(connection, "match_hosts", lines, key=("connection_id", "host", "stripe_customer_id"), update=())


def as_match(stored: StoredMatch) -> Match:
    """The match before any decision."""
    customer = None if stored.base_customer_id is None else str(stored.base_customer_id)
    outcome = "matched" if customer else ("skipped" if stored.outcome == "skipped" else "unmatched")
    return Match(stored.stripe_customer_id, outcome, stored.base_reason or stored.reason, customer)  # type: ignore[arg-type]


__all__ = [
    "Computed", "Customer", "Result", "StoredMatch", "as_match", "load_bases", "load_computed", "load_decisions",
    "load_links", "load_matched_to", "load_matches", "lock_customers", "save_evidence", "save_matches", "save_summaries",
]  # fmt: skip
