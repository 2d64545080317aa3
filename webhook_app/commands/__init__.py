"""The commands of `python -m webhook_app`, each imported when it is called (see `webhook_app.cli`)."""
