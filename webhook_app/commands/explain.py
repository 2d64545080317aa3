"""`explain`: needs nothing but the file."""

import click


@click.command()
@click.argument("file")
@click.pass_context
def explain(ctx: click.Context, file: str) -> None:
    """Explain the figures that follow from FILE (`-`: standard input): plan, MRR, payment status and why.

    FILE is a JSON document of Stripe objects, customers of ours and settings. Nothing is read or written but the file: no
    database, no network, no configuration.
    """
    from webhook_app.explain import main

    ctx.exit(main(file))
