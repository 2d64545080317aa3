"""`events`: what is in the inbox. Bodies are never shown."""

import json
from collections.abc import Collection
from datetime import UTC, datetime

import click
from sqlalchemy import Connection

from models.errors import BadInput, NotFound
from models.store.inbox import count_by_status, count_cut, list_events, retry_events
from models.store.session import session_scope
from models.tables.inbox import STATUSES
from webhook_app.commands.common import workplace
from workers.queue import Bell

STATUS = click.Choice(STATUSES)


@click.group()
def events() -> None:
    """Stripe's events as they were stored: pending, applied, superseded, ignored, quarantined, dead."""


@events.command("list")
@click.option("--status", type=STATUS, help="Only these.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="As JSON, times in unix seconds or milliseconds (_ms).")
def list_(status: str | None, limit: int, as_json: bool) -> None:
    """List events, newest first."""
    with workplace() as place, session_scope(place.database) as connection:
        lines = list_events(connection, status=status, limit=limit)
    if as_json:
        click.echo(json.dumps([line._asdict() for line in lines]))
        return
    for line in lines:
        at = datetime.fromtimestamp(line.created, UTC).strftime("%Y-%m-%d %H:%M:%S")
        tail = f"  {line.error}" if line.error else ""
        click.echo(f"{at}  {line.status:<11} {line.event_id:<28}  {line.type}  {line.object_id or ''}{tail}".rstrip())
    if not lines:
        click.echo("no events", err=True)


@events.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, every status.")
def counts(as_json: bool) -> None:
    """Count events by status."""
    with workplace() as place, session_scope(place.database) as connection:
        found = count_by_status(connection)
    numbers = {status: found.get(status, 0) for status in STATUSES}
    if as_json:
        click.echo(json.dumps(numbers))
        return
    for status, number in numbers.items():
        click.echo(f"{status:<12} {number:>9}")


@events.command(short_help="Bring events that failed for good back.")
@click.option("--id", "event_ids", multiple=True, metavar="EVT", help="This event; may be given several times.")
@click.option("--all", "all_events", is_flag=True, help="All of the status.")
@click.option("--status", type=click.Choice(["dead", "quarantined"]), default="dead", show_default=True)
def retry(event_ids: tuple[str, ...], all_events: bool, status: str) -> None:
    """Bring events that failed for good back to the workers, with all their attempts.

    Of several --id, those that are there are brought back and the others named; then the exit status is 2.
    """
    if bool(event_ids) == all_events:
        raise BadInput("events retry: takes --id EVT or --all")
    with workplace() as place:
        with session_scope(place.database, write=True) as connection:
            before = count_by_status(connection).get(status, 0)
            cut = count_cut(connection, status, event_ids or None)
            missing, partitions = _retry(connection, dict.fromkeys(event_ids), status)
            number = before - count_by_status(connection).get(status, 0)
        if cut:
            told = "1 event is" if cut == 1 else f"{cut} events are"
            click.echo(f"warning: {told} left out: the body was cut with age; a backfill reads what it was about", err=True)
        Bell(place.settings.redis).wake(partitions)  # best effort: the sweeper rings as well
    if missing and number:
        click.echo(f"{number} event{'' if number == 1 else 's'} pending again")
    if missing:
        raise NotFound(f"there is no {status} event {', '.join(missing)}")
    click.echo(f"{number} event{'' if number == 1 else 's'} pending again")


def _retry(connection: Connection, event_ids: Collection[str], status: str) -> tuple[list[str], set[int]]:
    """Retry these, or all of the status when none is named: which of them there aren't, and the partitions to ring."""
    missing: list[str] = []
    partitions: set[int] = set()
    for event_id in event_ids:
        found = retry_events(connection, event_ids=[event_id], statuses=[status])
        if not found and not count_cut(connection, status, [event_id]):
            missing.append(event_id)
        partitions |= found
    return missing, partitions if event_ids else retry_events(connection, statuses=[status])
