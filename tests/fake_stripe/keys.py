"""API keys: restricted and secret, live and test, revoked; and what a restricted one may read (STRIPE 6.1)."""

import msgspec

from tests.fake_stripe.errors import ApiError, no_key, not_permitted
from tests.fake_stripe.routes import PERMISSION

EVERYTHING = frozenset(PERMISSION.values())
ALL_READS = EVERYTHING - {"rak_webhook_read"}  # what a product like ours may read
RECOMMENDED = ALL_READS - {"rak_account_read"}


class ApiKey(msgspec.Struct):
    """`permissions` None means everything (a secret key). A wrong mode sees none of this account's objects. `platform`: the key
    of a Connect platform, which sees this account's only with `Stripe-Account`."""

    secret: str
    livemode: bool
    permissions: frozenset[str] | None = None
    revoked: bool = False
    platform: bool = False


class Keys:
    """All keys of the account."""

    def __init__(self, account_id: str) -> None:
        self._keys: dict[str, ApiKey] = {}
        self._account_id = account_id

    def add(self, secret: str, *, permissions: frozenset[str] | None = None) -> ApiKey:
        """A key by its text: `rk_live_…`, `rk_test_…`, `sk_live_…`, `sk_test_…`."""
        kind, mode = secret.split("_")[:2]
        if kind == "rk" and permissions is None:
            permissions = ALL_READS
        self._keys[secret] = ApiKey(secret, mode == "live", permissions if kind == "rk" else None)
        return self._keys[secret]

    def revoke(self, secret: str) -> None:
        """401 from now on."""
        self._keys[secret].revoked = True

    def find(self, authorization: str) -> ApiKey:
        """The key of an `Authorization` header.

        Raises:
            ApiError: 401 without one, for an unknown or a revoked one.
        """
        scheme, _, secret = authorization.partition(" ")
        if scheme.lower() != "bearer" or not secret:
            raise no_key()
        key = self._keys.get(secret)
        if key is None:
            raise ApiError(401, f"Invalid API Key provided: {masked(secret)}")
        if key.revoked:
            raise ApiError(401, f"Expired API Key provided: {masked(secret)}", code="api_key_expired")
        return key

    def check(self, key: ApiKey, kind: str) -> None:
        """May this key read objects of this kind?

        Raises:
            ApiError: 403 with the sentence that names the permission.
        """
        if not may_read(key, kind):
            raise not_permitted(masked(key.secret), self._account_id, PERMISSION[kind])


def may_read(key: ApiKey, kind: str) -> bool:
    """Whether the key has the permission that objects of this kind take."""
    needed = PERMISSION.get(kind)
    return key.permissions is None or needed is None or needed in key.permissions


def masked(secret: str) -> str:
    """As Stripe shows a key in its errors."""
    return secret[:8] + "*" * max(0, len(secret) - 12) + secret[-4:] if len(secret) > 12 else "****"
