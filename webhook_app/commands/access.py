"""`tokens` and `users`: what they print is shown once and stored only as a hash."""

import click

from models.errors import NotFound
from models.store.access import create_one_time_link, create_token, create_user, find_account
from models.store.session import session_scope
from webhook_app.commands.common import now, workplace

ROLE = click.Choice(["csm", "admin"])


@click.group()
def tokens() -> None:
    """API tokens: a bearer token for /api/v1."""


@tokens.command("create")
@click.option("--role", type=ROLE, required=True, help="csm reads; admin may do everything.")
@click.option("--name", help="What it is for, shown in the list of tokens.")
def create_tokens(role: str, name: str | None) -> None:
    """Print a new API token. It can't be shown again."""
    with workplace() as place, session_scope(place.database, write=True) as connection:
        token = create_token(connection, role, name, now())
    click.echo(token)


@click.group()
def users() -> None:
    """People who sign in."""


@users.command("create", short_help="Add a user and print a one-time link.")
@click.option("--email", required=True, help="The address they sign in with.")
@click.option("--role", type=ROLE, required=True, help="csm reads; admin may do everything.")
def create_users(email: str, role: str) -> None:
    """Add a user and print the one-time link with which they set their password (good for 24 hours)."""
    with workplace() as place:
        with session_scope(place.database, write=True) as connection:
            link = create_one_time_link(connection, create_user(connection, email, role, now()), now())
        click.echo(f"{place.settings.address}/welcome/{link}")


@users.command("link", short_help="Print a new one-time link for a user.")
@click.option("--email", required=True, help="The address they sign in with.")
def link_users(email: str) -> None:
    """Print a new one-time link for a user who lost theirs, or their password."""
    with workplace() as place:
        with session_scope(place.database, write=True) as connection:
            account = find_account(connection, email)
            if account is None:
                raise NotFound("email: there is no user with this address")
            link = create_one_time_link(connection, account.user_id, now())
        click.echo(f"{place.settings.address}/welcome/{link}")
