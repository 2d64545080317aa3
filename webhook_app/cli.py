"""The command line: which commands there are, and how each ends. The commands themselves stand in `webhook_app/commands`.

They are imported when they are called: `explain` needs no Flask, no SQLAlchemy, no Redis and no configuration. Whatever goes
wrong is one line on standard error: 2 for what the user can change, 1 for our own faults, 130 for Ctrl-C. Never a traceback,
never a secret.
"""

import importlib
import os
import sys
from collections.abc import Sequence

import click

from models.errors import PivotalError

COMMANDS = {
    "migrate": ("webhook_app.commands.setup:migrate", "Bring the database up to date and make missing keys."),
    "run": ("webhook_app.commands.setup:run", "Start everything: Valkey, web, workers and clock."),
    "connect": ("webhook_app.commands.connect:connect", "Add the connection to a Stripe account."),
    "customers": ("webhook_app.commands.customers:customers", "Import our customers."),
    "backfill": ("webhook_app.commands.backfill:backfill", "Read a Stripe account in, with a progress bar."),
    "events": ("webhook_app.commands.events:events", "List, count and retry Stripe's events."),
    "tokens": ("webhook_app.commands.access:tokens", "Create API tokens."),
    "users": ("webhook_app.commands.access:users", "Create users and one-time links."),
    "explain": ("webhook_app.commands.explain:explain", "Explain the figures of a document of Stripe objects."),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of their table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)  # noqa: S101  # the table above is ours; a test walks it
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Names with their line of help, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """Mirror Stripe subscriptions onto your customers: plan, MRR and payment status.

    Settings come from the environment: DATA_DIR, DATABASE_URL, REDIS_URL, ENCRYPTION_KEYS, PORT and more (docs/settings.md).
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = cli.main(given, "python -m webhook_app", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except BrokenPipeError:  # `| head` has seen enough
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  # the interpreter flushes it at exit
        return 0
    except (click.Abort, KeyboardInterrupt):
        return _fail("stopped", 130)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except (PivotalError, click.ClickException) as error:
        return _fail(_line(error), 2)
    except Exception as error:
        if os.environ.get("LOG_LEVEL", "").upper() == "DEBUG":
            raise
        # The text of a foreign error may hold data or secrets (a statement's parameters, say): its type alone is shown.
        return _fail(f"a fault of ours: {type(error).__name__}; LOG_LEVEL=DEBUG shows where", 1)


def _line(error: PivotalError | click.ClickException) -> str:
    if not isinstance(error, click.ClickException):
        return str(error)
    where = f" (see `{error.ctx.command_path} --help`)" if isinstance(error, click.UsageError) and error.ctx else ""
    return error.format_message() + where


def _fail(line: str, status: int) -> int:
    click.echo("error: " + " ".join(line.split()), err=True)
    return status
