"""The audit log: who did what, append-only, each entry hashed over the one before (FAULTS S54).

Actors and subjects are ids (`user:3`, `token:2`), never addresses, so that a person can be forgotten while the chain holds.
"""

import hashlib
from collections.abc import Mapping

import msgspec
from sqlalchemy import Connection, insert, select, text

from models.tables import AuditEntry

_CHAIN_LOCK = 0x9157A1  # any constant: the advisory lock that puts writers of the chain in a line on PostgreSQL
_FIRST = "0" * 64


def append_audit(
    conn: Connection,
    actor: str,
    action: str,
    now: int,
    *,
    subject: str | None = None,
    details: Mapping[str, object] | None = None,
) -> None:
    """Add one entry inside the caller's write transaction. `now`: unix seconds.

    Details are short facts (a role, a count), never an e-mail, a secret or text that a customer wrote.
    """
    if conn.dialect.name == "postgresql":  # SQLite has one writer anyway
        conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CHAIN_LOCK})
    last = conn.execute(select(AuditEntry.hash).order_by(AuditEntry.id.desc()).limit(1)).scalar()
    packed = msgspec.json.encode(dict(details or {}), order="sorted").decode()
    entry = _entry_hash(last or _FIRST, (now, actor, action, subject, packed))
    conn.execute(insert(AuditEntry).values(at=now, actor=actor, action=action, subject=subject, details=packed, hash=entry))


def first_broken_entry(conn: Connection) -> int | None:
    """The id of the first entry that doesn't follow from the one before it (changed or removed), or None when all do."""
    before = _FIRST
    rows = conn.execute(
        select(
            AuditEntry.id,
            AuditEntry.at,
            AuditEntry.actor,
            AuditEntry.action,
            AuditEntry.subject,
            AuditEntry.details,
            AuditEntry.hash,
        ).order_by(AuditEntry.id)
    )
    for row in rows:
        if _entry_hash(before, (row.at, row.actor, row.action, row.subject, row.details)) != row.hash:
            return int(row.id)
        before = row.hash
    return None


def _entry_hash(before: str, entry: tuple[int, str, str, str | None, str]) -> str:
    content = msgspec.json.encode([before, *entry])
    return hashlib.sha256(content).hexdigest()
