"""`python -m webhook_app …`: see `webhook_app.cli`."""

from webhook_app.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
