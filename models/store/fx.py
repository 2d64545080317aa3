"""FX tables: the rates of a day, which day is in force, and what a new one makes due (RULES 5.5)."""

from collections.abc import Mapping
from decimal import Decimal

from sqlalchemy import Connection

from models.domain.types import FxTable
from models.store import bulk

_RANK = {"peg": 0, "ecb": 1, "admin": 2}
"""An admin's rate wins over the ECB's, the ECB's over a fixed peg."""


def save_rates(connection: Connection, date: str, source: str, usd_per: Mapping[str, Decimal]) -> None:
    """Keep the rates of one day (ISO date) and source; a rate held already is replaced."""
    rows = [
        {"currency": currency, "date": date, "source": source, "usd_per": str(rate)}
        for currency, rate in sorted(usd_per.items())
    ]
    bulk.upsert(connection, "fx_rates", rows, key=("currency", "date", "source"))


def latest_date(connection: Connection) -> str | None:
    """The newest day the ECB's rates are held of."""
    return bulk.run(connection, "SELECT max(date) FROM fx_rates WHERE source = 'ecb'").scalar()  # type: ignore[no-any-return]


def date_in_force(connection: Connection) -> str | None:
    """The day whose table counts now; None before the first one was put in force."""
    return bulk.run(connection, "SELECT value FROM app_state WHERE key = 'fx_in_force'").scalar()  # type: ignore[no-any-return]


def applied_on(connection: Connection) -> str | None:
    """The day (ISO) on which the clock last put a month's table in force."""
    return bulk.run(connection, "SELECT value FROM app_state WHERE key = 'fx_applied_on'").scalar()  # type: ignore[no-any-return]


def note_applied(connection: Connection, date: str) -> None:
    """Remember that this month's table is in force."""
    bulk.upsert(connection, "app_state", [{"key": "fx_applied_on", "value": date}], key=("key",))


def put_in_force(connection: Connection, date: str) -> None:
    """Let the table of `date` count, and make every customer due that has amounts in other currencies."""
    bulk.upsert(connection, "app_state", [{"key": "fx_in_force", "value": date}], key=("key",))
    bulk.run(
        connection,
        "UPDATE customers SET mirror_version = mirror_version + 1, recompute_cause = 'facts'"
        " WHERE fx_date IS NOT NULL OR flags LIKE ?",
        ["%no_usd_rate%"],
    )


def load_table(connection: Connection, date: str | None) -> FxTable:
    """The whole table of a day; an admin's or pegged rate without a newer one of that day counts from its own day on."""
    if date is None:
        return FxTable()
    rows = bulk.run(
        connection,
        "SELECT currency, source, usd_per, date FROM fx_rates WHERE date = ? OR (source <> 'ecb' AND date <= ?)",
        [date, date],
    ).fetchall()
    best: dict[str, tuple[int, str, str, str]] = {}
    for currency, source, rate, day in rows:
        candidate = (_RANK.get(source, 0), day, source, rate)
        best[currency] = max(best.get(currency, candidate), candidate)
    return FxTable(
        date=date,
        usd_per={currency: Decimal(entry[3]) for currency, entry in sorted(best.items())},
        sources={currency: entry[2] for currency, entry in sorted(best.items())},
    )
