"""The API under `/api/v1`: our customers as JSON, read only, for programs with a bearer token (or a person signed in)."""

from flask import Flask


def register(app: Flask) -> None:
    """Add the API's routes."""
    from webhook_app.api import customers

    app.register_blueprint(customers.blueprint)
