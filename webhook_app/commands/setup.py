"""`migrate` and `run`."""

import click

from models.settings import load_settings


@click.command()
def migrate() -> None:
    """Bring the database up to date; safe to run at any time and by several machines at once.

    On the embedded database the first run also makes DATA_DIR/secret.key and DATA_DIR/cookie.key. Keep a copy of secret.key
    apart from the backups: without it the stored Stripe keys can't be opened, and no new one is made in its place.
    """
    from models.migrations.run import set_up
    from models.store.session import Database
    from workers.fx_source import prepare_rates

    settings = load_settings()
    database = Database(settings.database, role="migrate")
    try:
        found = set_up(settings, database).found
        prepare_rates(database)
        click.echo(f"the database is at migration {found}")
    finally:
        database.dispose()


@click.command()
@click.pass_context
def run(ctx: click.Context) -> None:
    """Start everything on this machine under one supervisor; Ctrl-C stops it all.

    From the environment: PORT, HOST, DATA_DIR, DATABASE_URL, REDIS_URL, WORKERS. `make run` does the same.
    """
    from workers.supervisor import main

    ctx.exit(main())
