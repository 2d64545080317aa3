"""The pages: server-rendered, readable without script, kept up to date by small polls with ETags (PAGES.md)."""

from typing import TYPE_CHECKING

from flask import Flask

if TYPE_CHECKING:
    from models.store.readmodel import ListRow
    from webhook_app.ui.words import Chip


def register(app: Flask) -> None:
    """Add the pages, their filters and the static files."""
    from webhook_app.ui import admin, customer, lists, static_files, words

    static_files.install(app)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(
        money=words.money, mrr=words.mrr, day=words.day, iso=words.iso, ago=words.ago, failure=words.failure,
        ordinal=words.ordinal, plan_name=words.plan_name, since=words.since, number=lambda value: f"{value:,}",
    )  # fmt: skip
    app.jinja_env.globals.update(STATUS_WORDS=words.STATUS_WORDS, LEFT_OUT=words.LEFT_OUT, row_chips=_row_chips)
    for part in (lists, customer, admin):
        app.register_blueprint(part.blueprint)


def _row_chips(row: "ListRow", now: int) -> "list[Chip]":
    from webhook_app.ui import words

    return words.chips(row.flags, row.summary, now)
