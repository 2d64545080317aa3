"""Where the figures come from, as the pages tell it: the connection of each environment and its latest run."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec
from sqlalchemy import Connection, select

from models.tables import Connection as ConnectionTable
from models.tables import SyncRun

_MODE_OF = {"production": "live", "staging": "test"}


@dataclass(frozen=True)
class Run:
    """A backfill, as far as pages show it. Times in unix milliseconds."""

    id: int
    state: str
    phase: str | None
    objects: int
    expected: int | None
    counts: Mapping[str, object]
    error: str | None
    started_ms: int
    updated_ms: int
    finished_ms: int | None


@dataclass(frozen=True)
class Source:
    """One connection, as far as pages show it: no secret, not even sealed. `last_word`: unix seconds of the newest evidence."""

    id: int
    public_id: str
    name: str
    mode: str
    state: str
    state_reason: str | None
    caught_up_to: int | None
    backfilled_at: int | None
    last_event_ms: int | None
    missing_permissions: tuple[str, ...] = ()
    run: Run | None = None

    @property
    def importing(self) -> bool:
        """Whether its first full sync is under way."""
        return self.backfilled_at is None and self.run is not None and self.run.state == "running"

    @property
    def last_word(self) -> int | None:
        """When Stripe last told us anything: an event, or the start of a complete read."""
        event = None if self.last_event_ms is None else self.last_event_ms // 1000
        return max((at for at in (event, self.caught_up_to) if at is not None), default=None)


@dataclass(frozen=True)
class Sources:
    """The connections by the environment they may touch (RULES 2)."""

    by_environment: Mapping[str, Source]

    def as_of(self, environment: str, own: int | None) -> int | None:
        """How old the evidence of a customer is: its own newest, or its connection's last complete scan (RULES 7)."""
        source = self.by_environment.get(environment)
        known = (own, None if source is None else source.caught_up_to)
        return max((at for at in known if at is not None), default=None)


def load_sources(conn: Connection, *, runs: bool = False) -> Sources:
    """The connections in use; `runs` adds the latest backfill of each."""
    table = ConnectionTable
    query = select(
        table.id, table.public_id, table.name, table.mode, table.state, table.state_reason, table.caught_up_to,
        table.backfilled_at, table.last_event_ms, table.missing_permissions,
    ).where(table.state != "removed")  # fmt: skip
    found = {}
    for row in conn.execute(query).mappings():
        missing = tuple(msgspec.json.decode(row["missing_permissions"] or "[]", type=list[str]))
        source = Source(**{**row, "missing_permissions": missing})
        found[source.mode] = replace(source, run=_latest_run(conn, source.id)) if runs else source
    return Sources({environment: found[mode] for environment, mode in _MODE_OF.items() if mode in found})


def _latest_run(conn: Connection, connection_id: int) -> Run | None:
    query = select(
        SyncRun.id, SyncRun.state, SyncRun.phase, SyncRun.objects, SyncRun.expected_objects, SyncRun.counts, SyncRun.error,
        SyncRun.started_ms, SyncRun.updated_ms, SyncRun.finished_ms,
    ).where(SyncRun.connection_id == connection_id, SyncRun.kind == "backfill")  # fmt: skip
    row = conn.execute(query.order_by(SyncRun.id.desc()).limit(1)).one_or_none()
    if row is None:
        return None
    counts = msgspec.json.decode(row.counts, type=dict[str, object])
    return Run(
        row.id,
        row.state,
        row.phase,
        row.objects,
        row.expected_objects,
        counts,
        row.error,
        row.started_ms,
        row.updated_ms,
        row.finished_ms,
    )
