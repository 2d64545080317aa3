"""`connect`: store the connection first, then see whether Stripe answers. Only the first can fail."""

import json
import os
import sys
from typing import Any

import click
from click.core import ParameterSource

from models.domain.credentials import check_api_key, read_scope
from models.errors import BadInput, StripeKeyRefused, StripePermissionMissing, StripeTrouble
from models.settings import STRIPE_API_BASE
from models.store.audit import append_audit
from models.store.connections import (
    ConnectionRecord,
    NewConnection,
    create_connection,
    load_connection,
    record_permissions,
    replace_api_key,
    roll_webhook_secret,
)
from models.store.keys import load_keyring
from models.store.session import session_scope
from webhook_app.commands.common import Workplace, now, workplace

PROBES = ("customers", "subscriptions", "invoices", "prices", "products", "coupons", "events")  # STRIPE 8.2
KEY = ("--api-key", "STRIPE_API_KEY")
SECRET = ("--webhook-secret", "STRIPE_WEBHOOK_SECRET")


@click.command()
@click.option("--name", help="What you call the account. Required for a new connection.")
@click.option("--mode", type=click.Choice(["live", "test"]), help="live fills production, test staging. Required as well.")
@click.option("--api-key", help="Restricted key (rk_…); `-` reads a line from standard input. Else STRIPE_API_KEY.")
@click.option("--webhook-secret", help="Signing secret (whsec_…); `-` reads a line. Else STRIPE_WEBHOOK_SECRET.")
@click.option("--api-base", default=STRIPE_API_BASE, show_default=True, help="Where Stripe's API is.")
@click.option("--scope", default="all", show_default=True, help="all, products:ID,… or lookup_keys:KEY,…")
@click.option("--allow-secret-key", is_flag=True, help="Take a key that may do everything in the account (sk_…).")
@click.option("--replace", type=int, metavar="ID", help="Give this connection a new key, a new signing secret, or both.")
@click.pass_context
def connect(ctx: click.Context, /, replace: int | None, **given: Any) -> None:
    """Add the connection to a Stripe account and print its connection_id and webhook_path as JSON.

    Words on a command line stay in the shell's history and are seen by other users of the machine. Better: put both secrets
    into the environment (STRIPE_API_KEY, STRIPE_WEBHOOK_SECRET), or give `-` and write them to standard input, the key on
    the first line and the signing secret on the second.

    With Stripe out of reach it succeeds and warns. There is at most one connection of each mode.

    With --replace ID nothing is added: the connection takes the new signing secret (the one before stays valid for 24
    hours), the new key, or both, whatever is given; a new key also starts a disconnected one again. The webhook path,
    the data and the rest stay.
    """
    if replace is not None:
        other = ("name", "mode", "api_base", "scope")
        if any(ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in other):
            raise BadInput("--replace: changes the key and the signing secret alone; name, mode, base and scope stay")
        _replace(replace, given["api_key"], given["webhook_secret"], allow_secret_key=given["allow_secret_key"])
        return
    for name in ("name", "mode"):
        if given[name] is None:
            raise click.MissingParameter(ctx=ctx, param_hint=f"'--{name}'", param_type="option")
    _create(**given)


def _create(mode: str, api_key: str | None, webhook_secret: str | None, scope: str, **plain: Any) -> None:
    key = _needed(KEY, api_key)
    check_api_key(key, mode, allow_secret_key=plain["allow_secret_key"])  # before anything else is asked for
    new = NewConnection(
        mode=mode,
        scope=read_scope(scope),
        api_key=key,
        webhook_secret=_needed(SECRET, webhook_secret),
        **plain,  # name, api_base, allow_secret_key
    )
    with workplace() as place:
        keyring = load_keyring(place.settings, place.database)
        with session_scope(place.database, write=True) as connection:
            record = create_connection(connection, keyring, new, now())
            append_audit(connection, "system", "connection_created", now(), subject=f"connection:{record.id}")
        _tell(place, record, new.api_key)


def _replace(connection_id: int, api_key: str | None, webhook_secret: str | None, *, allow_secret_key: bool) -> None:
    """Both or neither: a wrong key leaves the signing secret as it was."""
    key, secret = _secret(KEY, api_key), _secret(SECRET, webhook_secret)
    if key is None and secret is None:
        raise BadInput(f"--replace: takes {KEY[0]} or {SECRET[0]} ({KEY[1]} and {SECRET[1]} are not set)")
    with workplace() as place:
        keyring = load_keyring(place.settings, place.database)
        with session_scope(place.database, write=True) as connection:
            subject = f"connection:{connection_id}"
            if secret is not None:
                roll_webhook_secret(connection, keyring, connection_id, secret, now())
                append_audit(connection, "system", "webhook_secret_rolled", now(), subject=subject)
            if key is not None:
                replace_api_key(connection, keyring, connection_id, key, allow_secret_key=allow_secret_key)
                append_audit(connection, "system", "api_key_replaced", now(), subject=subject)
            record = load_connection(connection, connection_id)
        _tell(place, record, key)


def _tell(place: Workplace, record: ConnectionRecord, api_key: str | None) -> None:
    """The JSON that programs read; then what a new key may do, for people."""
    shown = {"connection_id": record.id, "webhook_path": record.webhook_path, "name": record.name, "mode": record.mode}
    click.echo(json.dumps(shown))
    sys.stdout.flush()
    if api_key is None:
        return
    if api_key.startswith("sk_"):
        _warn("a secret key may change everything in the account; a restricted key (rk_…) is enough")
    _probe(place, record, api_key)


def _needed(names: tuple[str, str], given: str | None) -> str:
    found = _secret(names, given)
    if found is None:
        raise BadInput(f"{names[0]}: not given, and {names[1]} is not set")
    return found


def _secret(names: tuple[str, str], given: str | None) -> str | None:
    """The option's word, a line of standard input (`-`), the environment's, or None."""
    if given == "-":
        line = click.prompt(names[0], hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
        return str(line).strip()
    found = given or os.environ.get(names[1])
    return found.strip() if found else None


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
