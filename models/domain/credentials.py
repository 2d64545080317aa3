"""Which Stripe credentials are accepted, told with the reason (FAULTS S14, S15). Pure; no error carries the credential.

A restricted key (`rk_`) is what we ask for. Whether it can write can't be seen without trying a write, so it isn't tried.
"""

import re
from urllib.parse import urlsplit

from models.domain.types import Scope
from models.errors import BadInput

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_KEY = re.compile(r"(rk|sk)_(live|test)_[A-Za-z0-9_]{4,240}")
_SECRET = re.compile(r"whsec_[A-Za-z0-9+/=_-]{4,240}")
_SCOPE_KINDS = {"products": "products", "lookup_keys": "lookup_keys"}


def check_api_key(key: str, mode: str, *, allow_secret_key: bool = False) -> None:
    """Accept a restricted key of this mode (`live` or `test`); a secret key only when told to.

    Raises:
        BadInput: what kind of key it is, and which one to make instead.
    """
    wanted = f"make a restricted key (rk_{mode}_…) with read access in the Stripe dashboard"
    if key.startswith("pk_"):
        raise BadInput(f"API key: a publishable key (pk_…) reads nothing; {wanted}")
    if key.startswith("sk_org"):
        raise BadInput(f"API key: an organisation key (sk_org_…) reaches several accounts; {wanted} of the one account")
    if key.startswith("whsec_"):
        raise BadInput(f"API key: this is a webhook signing secret (whsec_…); {wanted}")
    match = _KEY.fullmatch(key)
    if match is None:
        raise BadInput(f"API key: this is no Stripe key; {wanted}")
    if match[2] != mode:
        raise BadInput(f"API key: a key of {match[2]} mode doesn't fit a connection of {mode} mode; {wanted}")
    if match[1] == "sk" and not allow_secret_key:
        raise BadInput(f"API key: a secret key (sk_…) may do everything in the account; {wanted}, or give --allow-secret-key")


def check_webhook_secret(secret: str) -> None:
    """Accept a signing secret of a webhook endpoint.

    Raises:
        BadInput: it doesn't look like one.
    """
    if _SECRET.fullmatch(secret) is None:
        raise BadInput("webhook secret: takes the endpoint's signing secret (whsec_…) from the Stripe dashboard")


def check_api_base(url: str) -> str:
    """The base of Stripe's API, without a slash at the end: https, or http on loopback (a stand-in for tests).

    Raises:
        BadInput: anything else: the key would travel in the clear or to somebody unknown, or (a path) nothing would be found.
    """
    wrong = BadInput("API base: takes https://HOST, or http:// on loopback, with nothing behind it")
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it checks it
    except ValueError:
        raise wrong from None
    safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    more = parts.username or parts.password or parts.path.strip("/") or parts.query or parts.fragment
    if not safe or not parts.hostname or more:
        raise wrong
    return url.rstrip("/")


def read_scope(text: str) -> Scope:
    """`all`, `products:ID,…` or `lookup_keys:K,…` (RULES 4).

    Raises:
        BadInput: another word, or no value.
    """
    kind, colon, rest = text.strip().partition(":")
    if kind == "all" and not colon:
        return Scope()
    values = tuple(dict.fromkeys(value.strip() for value in rest.split(",") if value.strip()))
    if kind not in _SCOPE_KINDS or not values:
        raise BadInput("scope: takes all, products:ID,… or lookup_keys:KEY,…")
    return Scope(kind=kind, values=values)
