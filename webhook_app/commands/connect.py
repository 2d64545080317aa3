"""`connect`: store the connection first, then see whether Stripe answers. Only the first can fail."""

import json
import os
import sys
from typing import Any

import click

from models.domain.credentials import check_api_key, read_scope
from models.errors import BadInput, StripeKeyRefused, StripePermissionMissing, StripeTrouble
from models.settings import STRIPE_API_BASE
from models.store.audit import append_audit
from models.store.connections import ConnectionRecord, NewConnection, create_connection, record_permissions
from models.store.keys import load_keyring
from models.store.session import session_scope
from webhook_app.commands.common import Workplace, now, workplace

PROBES = ("customers", "subscriptions", "invoices", "prices", "products", "coupons", "events")  # STRIPE 8.2


@click.command()
@click.option("--name", required=True, help="What you call the account.")
@click.option("--mode", type=click.Choice(["live", "test"]), required=True, help="live fills production, test staging.")
@click.option("--api-key", help="Restricted key (rk_…); `-` reads a line from standard input. Else STRIPE_API_KEY.")
@click.option("--webhook-secret", help="Signing secret (whsec_…); `-` reads a line. Else STRIPE_WEBHOOK_SECRET.")
@click.option("--api-base", default=STRIPE_API_BASE, show_default=True, help="Where Stripe's API is.")
@click.option("--scope", default="all", show_default=True, help="all, products:ID,… or lookup_keys:KEY,…")
@click.option("--allow-secret-key", is_flag=True, help="Take a key that may do everything in the account (sk_…).")
def connect(mode: str, api_key: str | None, webhook_secret: str | None, scope: str, **plain: Any) -> None:
    """Add the connection to a Stripe account and print its connection_id and webhook_path as JSON.

    Words on a command line stay in the shell's history and are seen by other users of the machine. Better: put both secrets
    into the environment (STRIPE_API_KEY, STRIPE_WEBHOOK_SECRET), or give `-` and write them to standard input, the key on
    the first line and the signing secret on the second.

    With Stripe out of reach it succeeds and warns. There is at most one connection of each mode.
    """
    key = _secret("--api-key", api_key, "STRIPE_API_KEY")
    check_api_key(key, mode, allow_secret_key=plain["allow_secret_key"])  # before anything else is asked for
    new = NewConnection(
        mode=mode,
        scope=read_scope(scope),
        api_key=key,
        webhook_secret=_secret("--webhook-secret", webhook_secret, "STRIPE_WEBHOOK_SECRET"),
        **plain,  # name, api_base, allow_secret_key
    )
    with workplace() as place:
        keyring = load_keyring(place.settings, place.database)
        with session_scope(place.database, write=True) as connection:
            record = create_connection(connection, keyring, new, now())
            append_audit(connection, "system", "connection_created", now(), subject=f"connection:{record.id}")
        click.echo(
            json.dumps({"connection_id": record.id, "webhook_path": record.webhook_path, "name": record.name, "mode": mode})
        )
        if new.api_key.startswith("sk_"):
            _warn("a secret key may change everything in the account; a restricted key (rk_…) is enough")
        sys.stdout.flush()
        _probe(place, record, new.api_key)


def _secret(option: str, given: str | None, variable: str) -> str:
    if given == "-":
        line = click.prompt(option, hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
        return str(line).strip()
    found = given or os.environ.get(variable)
    if not found:
        raise BadInput(f"{option}: not given, and {variable} is not set")
    return found.strip()


def _probe(place: Workplace, record: ConnectionRecord, api_key: str) -> None:
    """One small read of each kind: is Stripe there, is the key good, what may it not read? All of it is only told."""
    from workers.stripe_api import Patience, StripeApi

    missing: set[str] = set()
    with StripeApi(record, api_key, patience=Patience(attempts=1, seconds=3.0, throttled_s=3.0)) as api:
        for kind in PROBES:
            try:
                api.read(f"/v1/{kind}", {"limit": 1}, "probe")
            except StripePermissionMissing as error:
                missing.add(error.permission or kind)
            except StripeKeyRefused:
                _warn("Stripe refuses the key (401): events are taken, but nothing can be read")
                return
            except StripeTrouble as error:
                _warn(f"Stripe can't be asked now: {error}; the connection is kept and the key not yet proven")
                return
    if missing:
        _warn(f"the key lacks {', '.join(sorted(missing))}: what depends on it stays unknown")
        with session_scope(place.database, write=True) as connection:
            record_permissions(connection, record.id, missing)


def _warn(text: str) -> None:
    click.echo(f"warning: {text}", err=True)
