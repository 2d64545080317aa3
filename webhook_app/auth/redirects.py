"""Where to go after signing in: a path of ours, never anything else (FAULTS S47)."""

import re
from urllib.parse import urlsplit

HOME = "/customers"
_LOCAL = re.compile(r"/(?![/\\])[!-\[\]-~]*")  # printable ASCII without space and backslash


def next_of(value: str | None) -> str:
    """`value` if it is a local path (with a query, perhaps), else the home page."""
    if not value or len(value) > 1000 or not _LOCAL.fullmatch(value):
        return HOME
    try:
        parts = urlsplit(value)
    except ValueError:
        return HOME
    elsewhere = parts.scheme or parts.netloc or not parts.path.startswith("/") or parts.path.startswith("//")
    return HOME if elsewhere or parts.path in {"/sign-in", "/sign-out"} or parts.path.startswith("/welcome/") else value
