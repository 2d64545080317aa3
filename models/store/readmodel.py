"""What readers see of our customers: pages of the list, one customer, its history (RULES 1, 7; FAULTS S45, S70).

Reads the read model only, never the mirror. Lists go by keyset: a position is the last row's sort key and id, so that a page
costs the same wherever it stands and no row is shown twice. An unknown MRR sorts after every known one, both ways.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Select, and_, case, func, or_, select, tuple_

from models.domain.types import Summary
from models.store.sources import Sources, load_sources
from models.tables import CustomerChange, CustomerRow, MatchRow

SORTS = ("-mrr", "mrr", "name", "-name")
STATUSES = ("paid", "past_due", "failing", "none")
ENVIRONMENTS = ("production", "staging")
MOST_ROWS = 200
LONGEST_QUERY = 200
_LARGEST_ID = 2**63 - 1


@dataclass(frozen=True)
class Filter:
    """What a list is narrowed to. `plans` name a plan or its label. Empty means no such filter."""

    q: str = ""
    statuses: tuple[str, ...] = ()
    plans: tuple[str, ...] = ()
    environment: str | None = None


@dataclass(frozen=True)
class Position:
    """The last row seen: its sort key (None: an unknown MRR) and id."""

    key: int | str | None
    id: int


@dataclass(frozen=True)
class ListRow:
    """One customer as lists show it. `mrr` US cents or None; times unix seconds. `summary` only where asked for."""

    id: int
    name: str
    name_key: str
    domain: str | None
    environment: str
    owner: str | None
    external_id: str | None
    plan: str | None
    plan_label: str | None
    mrr: int | None
    payment_status: str
    billing_started_at: int | None
    stripe_customer_id: str | None
    headline: str
    flags: tuple[str, ...]
    as_of: int | None
    summary: Summary | None = None


@dataclass(frozen=True)
class CustomerView:
    """One customer whole."""

    row: ListRow
    aliases: tuple[str, ...]
    summary: Summary
    created_at: int


@dataclass(frozen=True)
class Totals:
    """How many customers a filter leaves, the US cents of MRR known of them, and of how many it is unknown."""

    customers: int
    mrr: int
    unknown: int


@dataclass(frozen=True)
class ChangeView:
    """One line of history; `before` and `after` are plain JSON values."""

    id: int
    at_ms: int
    field: str
    kind: str
    before: object
    after: object
    amount: int | None
    cause: str


_COLUMNS = (
    CustomerRow.id, CustomerRow.name, CustomerRow.name_key, CustomerRow.domain, CustomerRow.environment, CustomerRow.owner,
    CustomerRow.external_id, CustomerRow.plan, CustomerRow.plan_label, CustomerRow.mrr, CustomerRow.payment_status,
    CustomerRow.billing_started_at, CustomerRow.stripe_customer_id, CustomerRow.headline, CustomerRow.flags, CustomerRow.as_of,
)  # fmt: skip


def load_page(
    conn: Connection, chosen: Filter, sort: str, after: Position | None, limit: int, *, summaries: bool = False
) -> tuple[list[ListRow], Position | None]:
    """One page in the order of `sort` (one of `SORTS`), and where the next begins (None: this was the last)."""
    query = _select(summaries).where(*_conditions(chosen))
    rows: list[Row[tuple[object, ...]]] = []
    for part in _parts(query, sort, after):
        rows += conn.execute(part.limit(limit + 1 - len(rows))).all()
        if len(rows) > limit:
            break
    sources = load_sources(conn)
    found = [_list_row(row, sources) for row in rows[:limit]]
    more = len(rows) > limit and bool(found)
    return found, position_of(found[-1], sort) if more else None


def position_of(row: ListRow, sort: str) -> Position:
    """Where a row stands in the order of `sort`."""
    return Position(row.mrr if sort.endswith("mrr") else row.name_key, row.id)


def load_rows(conn: Connection, ids: Collection[int]) -> list[ListRow]:
    """These customers with their summaries, in no order; ids that are none are left out."""
    rows = conn.execute(_select(summaries=True).where(CustomerRow.id.in_([*ids][:MOST_ROWS]))).all()
    sources = load_sources(conn)
    return [_list_row(row, sources) for row in rows]


def load_totals(conn: Connection, chosen: Filter) -> Totals:
    """Totals over all that the filter leaves, whatever page is shown."""
    query = select(*_SUMS).select_from(CustomerRow).where(*_conditions(chosen))
    return _totals(*conn.execute(query).one())


def load_breakdown(conn: Connection, chosen: Filter) -> dict[str, Totals]:
    """Totals by payment status, of what the filter leaves when its statuses are set aside."""
    query = select(CustomerRow.payment_status, *_SUMS).where(*_conditions(replace(chosen, statuses=())))
    found = {row[0]: _totals(*row[1:]) for row in conn.execute(query.group_by(CustomerRow.payment_status))}
    return {status: found.get(status, Totals(0, 0, 0)) for status in STATUSES}


# Summed in two parts: two absurd figures would overflow 64 bits, and with them every page of the list.
_PART = 10**9
_SUMS = (
    func.count(), func.sum(CustomerRow.mrr // _PART), func.sum(CustomerRow.mrr % _PART),
    func.sum(case((CustomerRow.mrr.is_(None), 1), else_=0)),
)  # fmt: skip


def _totals(count: int, high: int | None, low: int | None, unknown: int | None) -> Totals:
    return Totals(int(count), int(high or 0) * _PART + int(low or 0), int(unknown or 0))


def load_customer_view(conn: Connection, customer_id: int) -> CustomerView | None:
    """One customer, or None where there is none with this id."""
    if not 0 < customer_id <= _LARGEST_ID:
        return None
    query = _select(summaries=True).add_columns(CustomerRow.aliases, CustomerRow.created_at)
    row = conn.execute(query.where(CustomerRow.id == customer_id)).one_or_none()
    if row is None:
        return None
    listed = _list_row(row, load_sources(conn))
    aliases = msgspec.json.decode(row.aliases, type=tuple[str, ...])
    return CustomerView(replace(listed, summary=None), aliases, listed.summary or Summary(), row.created_at)


def load_changes(conn: Connection, customer_id: int, before: int | None, limit: int) -> list[ChangeView]:
    """A customer's history, newest first, from below the change `before`."""
    query = select(CustomerChange).with_only_columns(
        CustomerChange.id, CustomerChange.at_ms, CustomerChange.field, CustomerChange.kind, CustomerChange.before,
        CustomerChange.after, CustomerChange.amount, CustomerChange.cause,
    )  # fmt: skip
    query = query.where(CustomerChange.customer_id == customer_id)
    if before is not None:
        query = query.where(CustomerChange.id < before)
    rows = conn.execute(query.order_by(CustomerChange.id.desc()).limit(limit))
    return [
        ChangeView(row.id, row.at_ms, row.field, row.kind, _json(row.before), _json(row.after), row.amount, row.cause)
        for row in rows
    ]


def load_plan_labels(conn: Connection, environment: str | None) -> list[str]:
    """The plan labels in use, sorted, for the filter."""
    query = select(CustomerRow.plan_label).where(CustomerRow.plan_label.is_not(None)).distinct().limit(MOST_ROWS)
    if environment is not None:
        query = query.where(CustomerRow.environment == environment)
    return sorted((str(label) for label in conn.execute(query).scalars()), key=str.casefold)


def load_environments(conn: Connection) -> tuple[str, ...]:
    """The environments that hold customers of ours."""
    found = []
    for name in ENVIRONMENTS:  # each by the index, where DISTINCT would walk every customer
        if conn.execute(select(CustomerRow.id).where(CustomerRow.environment == name).limit(1)).first() is not None:
            found.append(name)
    return tuple(found)


def changes_mark(conn: Connection) -> str:
    """A text that differs after any change to any customer. It sums the latest ids, since on PostgreSQL a lower id may be
    committed after a higher one was seen."""
    latest = select(CustomerChange.id).order_by(CustomerChange.id.desc()).limit(200).subquery()
    last, total = conn.execute(select(func.max(latest.c.id), func.sum(latest.c.id))).one()
    newest = conn.execute(select(func.max(CustomerRow.id))).scalar()
    return f"{last or 0}.{total or 0}.{newest or 0}"


def count_changed_elsewhere(conn: Connection, chosen: Filter, since: int, shown: Sequence[int]) -> int:
    """How many customers that the filter leaves and that aren't `shown` changed after the change `since` (500 at most)."""
    changed = select(CustomerChange.customer_id).where(CustomerChange.id > since).limit(500)
    query = select(func.count()).select_from(CustomerRow)
    query = query.where(CustomerRow.id.in_(changed), CustomerRow.id.not_in([*shown][:MOST_ROWS]), *_conditions(chosen))
    return int(conn.execute(query).scalar() or 0)


# --- How a list is asked ------------------------------------------------------------------------------


def _select(summaries: bool) -> Select[tuple[object, ...]]:
    columns = (*_COLUMNS, CustomerRow.summary) if summaries else _COLUMNS
    return select(*columns)


def _parts(query: Select[tuple[object, ...]], sort: str, after: Position | None) -> list[Select[tuple[object, ...]]]:
    """The statements whose rows, one after the other, are the list from `after` on. Each runs along one index."""
    down = sort.startswith("-")
    if sort.endswith("name"):
        return [_along(query, CustomerRow.name_key, down, after)]
    known = query.where(CustomerRow.mrr.is_not(None))
    unknown = query.where(CustomerRow.mrr.is_(None)).order_by(CustomerRow.id.desc() if down else CustomerRow.id)
    if after is None or after.key is not None:
        return [_along(known, CustomerRow.mrr, down, after), unknown]
    return [unknown.where(CustomerRow.id < after.id if down else CustomerRow.id > after.id)]


def _along(query: Select[tuple[object, ...]], column: object, down: bool, after: Position | None) -> Select[tuple[object, ...]]:
    key: ColumnElement[object] = column  # type: ignore[assignment]  # a mapped column is one at class level
    if after is not None:
        place = tuple_(key, CustomerRow.id)
        edge = tuple_(after.key, after.id)
        query = query.where(place < edge if down else place > edge)
    return query.order_by(key.desc(), CustomerRow.id.desc()) if down else query.order_by(key, CustomerRow.id)


def _conditions(chosen: Filter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if chosen.statuses:
        found.append(CustomerRow.payment_status.in_(chosen.statuses))
    if chosen.plans:
        found.append(or_(CustomerRow.plan.in_(chosen.plans), CustomerRow.plan_label.in_(chosen.plans)))
    if chosen.environment:
        found.append(CustomerRow.environment == chosen.environment)
    if chosen.q.strip():
        found.append(_search(chosen.q.strip()))
    return found


def _search(q: str) -> ColumnElement[bool]:
    """Name or domain hold it (of an e-mail address: what follows the @), or a Stripe customer's id begins with it."""
    if q.startswith("cus_"):
        theirs = select(MatchRow.customer_id).where(MatchRow.stripe_customer_id == q, MatchRow.outcome == "matched")
        begins = func.substr(CustomerRow.stripe_customer_id, 1, len(q)) == q
        return or_(begins, CustomerRow.id.in_(theirs))
    host = q.rpartition("@")[2].lower()
    in_name = CustomerRow.name_key.contains(q.casefold(), autoescape=True)
    in_domain = func.lower(CustomerRow.domain).contains(host, autoescape=True)
    return or_(in_name, and_(CustomerRow.domain.is_not(None), in_domain)) if host else in_name


def _list_row(row: Row[tuple[object, ...]], sources: Sources) -> ListRow:
    values = row._mapping
    summary = values.get("summary")
    plain = {column.key: values[column.key] for column in _COLUMNS}
    plain["flags"] = msgspec.json.decode(plain["flags"], type=tuple[str, ...])
    plain["as_of"] = sources.as_of(plain["environment"], plain["as_of"])
    return ListRow(**plain, summary=msgspec.json.decode(summary, type=Summary) if summary else None)


def _json(text: str | None) -> object:
    return None if text is None else msgspec.json.decode(text)
