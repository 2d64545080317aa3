"""`customers import`: the good rows are kept, the bad ones named."""

import json
import sys
from pathlib import Path

import click

from models.errors import BadInput, PivotalError
from models.store.audit import append_audit
from models.store.customers import import_customer
from models.store.session import Database, session_scope
from webhook_app.commands.common import now, workplace
from webhook_app.commands.customer_csv import COLUMNS, BadRow, Row, Table, read_customers

ROWS_A_TRANSACTION = 50  # short write transactions: deliveries wait behind them on SQLite


@click.group()
def customers() -> None:
    """Our customers."""


@customers.command("import", short_help="Import customers from a CSV file.")
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
@click.pass_context
def import_(ctx: click.Context, file: str, as_json: bool) -> None:
    """Import customers from FILE (`-`: standard input), a CSV with a header line.

    \b
    Columns: name,domain,aliases,environment,owner,external_id
      name         required
      domain       their main domain, acme.com
      aliases      further domains, separated by ; or | or spaces
      environment  production (default) or staging
      owner        who looks after them
      external_id  their id in your system

    A row with a known external_id updates that customer: the one of the same environment, else it moves the one of the other
    (unless the file lists the id in both: then they are two). Else a known domain in the same environment does, and for a row
    with neither the same name in the same environment. A column that the file doesn't have leaves what is there. Names,
    owners and ids have at most 200 characters. A bad row is named with its line and the good ones are kept; then the exit
    status is 2.
    """
    table = read_customers(_read(file))
    if table.unknown:
        names = ", ".join(repr(name) for name in table.unknown)
        click.echo(f"warning: columns that mean nothing here: {names} (known: {', '.join(COLUMNS)})", err=True)
    with workplace() as place:
        counts = _import(place.database, table, file)
    if as_json:
        click.echo(json.dumps(counts))
    else:
        click.echo(", ".join(f"{number} {word}" for word, number in counts.items()))
    ctx.exit(2 if counts["bad"] else 0)


def _read(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise BadInput(f"{file}: {error.strerror or 'cannot be read'}") from None


def _import(database: Database, table: Table, file: str) -> dict[str, int]:
    counts = {"created": 0, "updated": 0, "unchanged": 0, "bad": 0}
    in_both = _in_both_environments(table)
    for start in range(0, len(table.rows), ROWS_A_TRANSACTION):
        rows = table.rows[start : start + ROWS_A_TRANSACTION]
        outcomes = _import_batch(database, rows, in_both)
        for row, outcome in zip(rows, outcomes, strict=True):
            known = outcome in counts
            counts[outcome if known else "bad"] += 1
            if not known:
                click.echo(f"{file}:{row.line}: {outcome}", err=True)
    with session_scope(database, write=True) as connection:
        append_audit(connection, "system", "customers_imported", now(), details=dict(counts))
    return counts


def _import_batch(database: Database, rows: tuple[Row | BadRow, ...], in_both: set[str]) -> list[str]:
    """What became of each row: created, updated, unchanged, or what is wrong with it. One transaction."""
    with session_scope(database, write=True) as connection:
        outcomes = []
        for row in rows:
            if isinstance(row, BadRow):
                outcomes.append(row.problem)
                continue
            try:
                moves = row.cells.get("external_id") not in in_both
                outcomes.append(import_customer(connection, dict(row.cells), now(), moves=moves))
            except PivotalError as error:
                outcomes.append(str(error))
        return outcomes


def _in_both_environments(table: Table) -> set[str]:
    """External ids that the file lists in both environments: two customers, which must not move to and fro."""
    found: dict[str, set[str]] = {}
    for row in table.rows:
        if isinstance(row, Row) and row.cells.get("external_id"):
            environment = str(row.cells.get("environment") or "production").lower()
            found.setdefault(str(row.cells["external_id"]), set()).add(environment)
    return {external_id for external_id, environments in found.items() if len(environments) > 1}
