"""`backfill`: the whole Stripe account, read in before your eyes."""

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from models.store.keys import load_keyring
from models.store.runs import load_problems
from models.store.session import Database, session_scope
from webhook_app.commands.common import workplace
from webhook_app.commands.progress import Progress

if TYPE_CHECKING:
    from workers.backfill import RunResult

PROBLEMS_TOLD = 10


@click.command()
@click.option("--connection", "connection_id", type=int, required=True, help="The connection_id that `connect` printed.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON; the progress goes to standard error.")
@click.pass_context
def backfill(ctx: click.Context, connection_id: int, as_json: bool) -> None:
    """Read a Stripe account in: customers, subscriptions, invoices, prices, and match them with ours.

    Cut short (Ctrl-C, kill, a failure that passes), the same command goes on where it was. Events that come meanwhile are
    taken as usual. The exit status is 0 only for a run that came to its end.
    """
    from workers.backfill import run_backfill

    progress = Progress()
    with workplace() as place, _stop_event() as stop:
        keyring = load_keyring(place.settings, place.database)
        try:
            result = run_backfill(place.database, keyring, place.settings, connection_id, progress=progress, stop=stop)
        finally:
            progress.end()
        _warn(place.database, result)
    click.echo(json.dumps(result.to_json()) if as_json else _told(result), nl=True)
    if result.state == "stopped":
        click.echo("stopped: the same command goes on from here", err=True)
    elif result.error:
        click.echo(f"error: backfill {result.state}: {' '.join(result.error.split())}", err=True)
    ctx.exit(result.exit_code)


@contextmanager
def _stop_event() -> Iterator[threading.Event]:
    """Set by the first Ctrl-C or SIGTERM; the second ends the command at once."""
    stop = threading.Event()
    before: dict[int, object] = {}

    def ask(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, before[number])  # type: ignore[arg-type]

    for each in (signal.SIGINT, signal.SIGTERM):
        before[each] = signal.signal(each, ask)
    try:
        yield stop
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)  # type: ignore[arg-type]


def _warn(database: Database, result: "RunResult") -> None:
    """What a run that came to its end could not read: figures that depend on it are unknown or old."""
    if lacking := result.counts.get("missing_permissions"):
        click.echo(f"warning: the key lacks {', '.join(lacking)}: what depends on it stays unknown", err=True)
    with session_scope(database) as connection:
        problems = load_problems(connection, result.run_id, PROBLEMS_TOLD)
    for stripe_id, problem in problems:
        if problem != result.error:
            click.echo(f"warning: {stripe_id or 'the run'}: {' '.join(problem.split())}", err=True)
    more = result.counts.get("problems", 0) - len(problems)
    if more > 0:
        click.echo(f"warning: and {more:,} more problem{'' if more == 1 else 's'}", err=True)


def _told(result: "RunResult") -> str:
    head = f"backfill {result.state}: {result.objects:,} objects, {result.calls:,} calls, {result.seconds:.1f} s"
    reasons = result.counts.get("reasons", {})
    lines = [head]
    for word in ("stripe_customers", "matched", "unmatched", "skipped", "ambiguous"):
        if word in result.counts:
            why = ", ".join(f"{reason} {number:,}" for reason, number in sorted(reasons.get(word, {}).items()))
            lines.append(f"  {word.replace('_', ' '):<17} {result.counts[word]:>8,}" + (f"   {why}" if why else ""))
    return "\n".join(lines)
