"""The web side: the webhook endpoint, the API, the pages and the command line. gunicorn runs `webhook_app:create_app()`.

Importing the package imports nothing else: `python -m webhook_app explain` works without Flask, SQLAlchemy and Redis.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from models.settings import AppSettings


def create_app(settings: "AppSettings | None" = None) -> "Flask":
    """The application (`webhook_app.factory.create_app`).

    Raises:
        SettingsError: a setting is missing or wrong.
    """
    from webhook_app import factory

    return factory.create_app(settings)
