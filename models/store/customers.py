"""Our customers as admins bring them: import, hosts, and what their change makes due."""

import json
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection

from models.domain.match import normalise_host
from models.domain.types import Customer
from models.errors import BadInput
from models.store import bulk

ENVIRONMENTS = ("production", "staging")
MAX_CHARS = 200  # of a name, an owner, an external id

_HELD = ("name", "domain", "aliases", "environment", "owner", "external_id")


def import_customer(connection: Connection, row: dict[str, Any], now: int, *, moves: bool = True) -> str:
    """Create or update one customer of ours: by `external_id` where it is known, else by domain and environment, else (a row
    with neither) by name and environment.

    An `external_id` that is known in the other environment alone moves that customer, unless `moves` is false: the file
    lists the id in both, so they are two.

    `row`: name, domain, aliases (list of text), environment, owner, external_id; empty text counts as absent.

    Returns:
        created, updated or unchanged.

    Raises:
        BadInput: names the field that can't be used; nothing was written.
    """
    fields = _checked(row)
    held = _find(connection, fields, moves=moves)
    if held is None:
        customer_id = _insert(connection, fields, now)
        _set_hosts(connection, customer_id, fields)
        return "created"
    customer_id, before = held
    merged = {name: (fields[name] if name in row else before[name]) for name in before}
    merged["environment"] = fields["environment"]
    if merged == before:
        return "unchanged"
    bulk.run(
        connection,
        "UPDATE customers SET name = ?, name_key = ?, domain = ?, aliases = ?, environment = ?, owner = ?, external_id = ?"
        " WHERE id = ?",
        [merged["name"], merged["name"].casefold(), merged["domain"], json.dumps(merged["aliases"]), merged["environment"],
         merged["owner"], merged["external_id"], customer_id],
    )  # fmt: skip
    if any(merged[name] != before[name] for name in ("domain", "aliases", "environment", "external_id")):
        _set_hosts(connection, customer_id, merged, was=before)
    return "updated"


def _checked(row: dict[str, Any]) -> dict[str, Any]:
    name = str(row.get("name") or "").strip()
    if not name:
        raise BadInput("name: is missing")
    for field in ("name", "owner", "external_id"):
        if len(str(row.get(field) or "").strip()) > MAX_CHARS:
            raise BadInput(f"{field}: takes at most {MAX_CHARS} characters")
    environment = str(row.get("environment") or "production").strip().lower()
    if environment not in ENVIRONMENTS:
        raise BadInput(f"environment: is production or staging, not {environment!r}")
    domain = str(row.get("domain") or "").strip()
    return {
        "name": name,
        "domain": _host("domain", domain) if domain else None,
        "aliases": sorted({_host("aliases", str(alias)) for alias in row.get("aliases") or [] if str(alias).strip()}),
        "environment": environment,
        "owner": str(row.get("owner") or "").strip() or None,
        "external_id": str(row.get("external_id") or "").strip() or None,
    }


def _host(field: str, text: str) -> str:
    """A host, or a full address (matched only with "Match personal emails", RULES 2)."""
    text = text.strip()
    if "@" in text:
        return text.lower()
    host = normalise_host(text)
    if host is None or "." not in host:
        raise BadInput(f"{field}: {text!r} is no domain")
    return host


def _find(connection: Connection, fields: dict[str, Any], *, moves: bool) -> tuple[int, dict[str, Any]] | None:
    row = _held_by_external_id(connection, fields, moves=moves)
    row = row or _held_by_domain(connection, fields) or _held_by_name(connection, fields)
    if row is None:
        return None
    values = dict(zip(_HELD, row[1:], strict=True))
    values["aliases"] = json.loads(values["aliases"])
    return int(row[0]), values


def _held_by_external_id(connection: Connection, fields: dict[str, Any], *, moves: bool) -> Sequence[Any] | None:
    """The customer with this id of the same environment, else of the other (there is at most one in each)."""
    if not fields["external_id"]:
        return None
    rows = _rows(connection, "external_id = ?", fields["external_id"])
    same = [row for row in rows if row[4] == fields["environment"]]
    return next(iter(same or (rows if moves else ())), None)


def _held_by_domain(connection: Connection, fields: dict[str, Any]) -> Sequence[Any] | None:
    if not fields["domain"]:
        return None
    where = "id IN (SELECT customer_id FROM customer_hosts WHERE environment = ? AND host = ? AND kind = 'domain')"
    rows = _rows(connection, where, fields["environment"], fields["domain"])
    # A row with another external id is another customer that holds the same domain (after a split, say).
    return next((row for row in rows if not (fields["external_id"] and row[6] and row[6] != fields["external_id"])), None)


def _held_by_name(connection: Connection, fields: dict[str, Any]) -> Sequence[Any] | None:
    """For rows that carry nothing else to know them by: the same file imported twice must not make two customers."""
    if fields["domain"] or fields["external_id"]:
        return None
    rows = _rows(connection, "name_key = ? AND environment = ?", fields["name"].casefold(), fields["environment"])
    same = [row for row in rows if row[1] == fields["name"]]
    return min(same, key=lambda row: (row[2] is not None or row[6] is not None, row[0]), default=None)


def _rows(connection: Connection, where: str, *values: str) -> Sequence[Sequence[Any]]:
    found: Sequence[Sequence[Any]] = bulk.run(
        connection, f"SELECT id, {', '.join(_HELD)} FROM customers WHERE {where} ORDER BY id", list(values)
    ).fetchall()
    return found


def _insert(connection: Connection, fields: dict[str, Any], now: int) -> int:
    return int(
        bulk.run(
            connection,
            "INSERT INTO customers (name, name_key, domain, aliases, environment, owner, external_id, created_at, mrr,"
            " payment_status, headline, flags, ever_positive, mirror_version, computed_version)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 'none', 'No plan, MRR $0, no invoices', '[]', ?, 0, 0) RETURNING id",
            [fields["name"], fields["name"].casefold(), fields["domain"], json.dumps(fields["aliases"]),
             fields["environment"], fields["owner"], fields["external_id"], now, False],
        ).scalar()
    )  # fmt: skip


def _set_hosts(connection: Connection, customer_id: int, fields: dict[str, Any], was: dict[str, Any] | None = None) -> None:
    """Write the hosts, and make every Stripe customer due whose match depends on what came or went. `was`: the row before."""
    held = {
        row[0]
        for row in bulk.run(connection, "SELECT host FROM customer_hosts WHERE customer_id = ?", [customer_id]).fetchall()
    }
    bulk.run(connection, "DELETE FROM customer_hosts WHERE customer_id = ?", [customer_id])
    hosts = dict.fromkeys(fields["aliases"], "alias")
    if fields["domain"]:
        hosts[fields["domain"]] = "domain"
    rows = [
        {"environment": fields["environment"], "host": host, "customer_id": customer_id, "kind": kind}
        for host, kind in sorted(hosts.items())
    ]
    bulk.upsert(connection, "customer_hosts", rows, key=("environment", "host", "customer_id"))
    bump_rules(connection)
    ids = {text for text in (fields["external_id"], (was or fields)["external_id"], str(customer_id)) if text}
    make_hosts_due(connection, held | set(hosts) | ids)
    if was and was["environment"] != fields["environment"]:
        _make_matched_due(connection, customer_id)


def _make_matched_due(connection: Connection, customer_id: int) -> None:
    """A customer that moves leaves whoever is matched or linked to it, and is found again by links of its new environment."""
    rows = bulk.run(
        connection,
        "SELECT connection_id, stripe_customer_id FROM matches WHERE customer_id = ? UNION"
        " SELECT connection_id, stripe_customer_id FROM links WHERE customer_id = ? AND ended_at IS NULL",
        [customer_id, customer_id],
    ).fetchall()
    for connection_id, stripe_customer in rows:
        make_due(connection, connection_id, [stripe_customer], "adjustment")


def bump_rules(connection: Connection) -> None:
    """Say that something the match depends on changed: whoever computed under the old version must compute again."""
    bulk.run(
        connection,
        "INSERT INTO app_state AS old (key, value) VALUES ('rules_version', '1')"
        " ON CONFLICT (key) DO UPDATE SET value = CAST(CAST(old.value AS BIGINT) + 1 AS TEXT)",
    )


def rules_version(connection: Connection, *, lock: str = "") -> str:
    """The version of what figures and matches depend on beside the facts of their own customers. `lock` (`SHARE` or `UPDATE`)
    holds it still for this transaction, on PostgreSQL; SQLite has one writer anyway."""
    held = f" FOR {lock}" if lock and connection.dialect.name == "postgresql" else ""
    row = bulk.run(connection, f"SELECT value FROM app_state WHERE key = 'rules_version'{held}").fetchone()
    return row[0] if row else "0"


def make_hosts_due(connection: Connection, hosts: Collection[str]) -> None:
    """Stripe customers whose match looks up one of these strings are matched and recomputed again."""
    for part in bulk.chunks(sorted(hosts)):
        marks = ", ".join("?" * len(part))
        bulk.run(
            connection,
            "UPDATE matches SET due = ?, due_cause = 'adjustment', version = version + 1"
            " WHERE (connection_id, stripe_customer_id) IN"
            f" (SELECT connection_id, stripe_customer_id FROM match_hosts WHERE host IN ({marks}))",
            [True, *part],
        )


def make_due(connection: Connection, connection_id: int, stripe_customers: Collection[str], cause: str) -> int:
    """These Stripe customers are matched and recomputed again soon (fan-out, a changed setting)."""
    made = 0
    for part in bulk.chunks(sorted(stripe_customers)):
        marks = ", ".join("?" * len(part))
        result = bulk.run(
            connection,
            "UPDATE matches SET due = ?, due_cause = ?, version = version + 1"
            f" WHERE connection_id = ? AND stripe_customer_id IN ({marks})",
            [True, cause, connection_id, *part],
        )
        made += result.rowcount
    return made


def load_customers(connection: Connection, ids: Collection[int]) -> dict[int, Customer]:
    """Our customers as the match sees them, by id."""
    sql = "SELECT id, name, domain, aliases, environment, external_id FROM customers WHERE id IN (*)"
    rows = bulk.select_in(connection, sql, ids)
    return {row[0]: Customer(str(row[0]), row[1], row[2], tuple(json.loads(row[3])), row[4], row[5]) for row in rows}


def holders_of(connection: Connection, environment: str, hosts: Collection[str]) -> set[int]:
    """Ids of our customers that hold one of these hosts."""
    sql = "SELECT customer_id FROM customer_hosts WHERE environment = ? AND host IN (*)"
    return {row[0] for row in bulk.select_in(connection, sql, hosts, [environment])}


def by_external_id(connection: Connection, environment: str, external_ids: Collection[str]) -> set[int]:
    """Ids of our customers that carry one of these external ids."""
    sql = "SELECT id FROM customers WHERE environment = ? AND external_id IN (*)"
    return {row[0] for row in bulk.select_in(connection, sql, external_ids, [environment])}


def due_ids(connection: Connection, now: int, limit: int = 300) -> Sequence[int]:
    """Our customers whose figures are due: behind the mirror, or at `next_change_at` (RULES 6)."""
    rows = bulk.run(
        connection,
        "SELECT id FROM customers WHERE computed_version < mirror_version"
        " UNION SELECT id FROM customers WHERE next_change_at IS NOT NULL AND next_change_at <= ? ORDER BY id LIMIT ?",
        [now, limit],
    )
    return [row[0] for row in rows]


def due_stripe_customers(connection: Connection, limit: int = 300) -> list[tuple[int, str, str]]:
    """(connection, Stripe customer, cause) marked due."""
    rows = bulk.run(
        connection,
        "SELECT connection_id, stripe_customer_id, due_cause FROM matches WHERE due ORDER BY connection_id,"
        " stripe_customer_id LIMIT ?",
        [limit],
    )
    return [(row[0], row[1], row[2] or "adjustment") for row in rows]


def environments(connection: Connection, ids: Collection[int]) -> dict[int, str]:
    """The environment of these customers."""
    return dict(bulk.select_in(connection, "SELECT id, environment FROM customers WHERE id IN (*)", ids))


def settle(connection: Connection, ids: Collection[int]) -> None:
    """Nothing can be computed for these customers now: they are not due any more."""
    for part in bulk.chunks(sorted(ids)):
        marks = ", ".join("?" * len(part))
        bulk.run(
            connection,
            f"UPDATE customers SET computed_version = mirror_version, next_change_at = NULL WHERE id IN ({marks})",
            part,
        )


def fall_behind(connection: Connection, ids: Collection[int]) -> None:
    """The mirror moved on and these customers' figures could not follow: they stay due, and the sweeper tries again (I3)."""
    for part in bulk.chunks(sorted(ids)):
        marks = ", ".join("?" * len(part))
        bulk.run(connection, f"UPDATE customers SET mirror_version = mirror_version + 1 WHERE id IN ({marks})", part)


def settle_due(connection: Connection, connection_id: int, stripe_customers: Collection[str]) -> None:
    """Stripe customers that the mirror doesn't hold can't be matched: they are not due any more."""
    for part in bulk.chunks(sorted(stripe_customers)):
        marks = ", ".join("?" * len(part))
        bulk.run(
            connection,
            f"UPDATE matches SET due = ?, version = version + 1 WHERE connection_id = ? AND stripe_customer_id IN ({marks})",
            [False, connection_id, *part],
        )
