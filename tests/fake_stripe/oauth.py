"""Connect's OAuth endpoints (STRIPE 6.2): authorize, token, refresh, deauthorize. Errors are `{error, error_description}`."""

from collections.abc import Callable
from urllib.parse import parse_qsl, urlencode

import msgspec

from tests.fake_stripe.keys import Keys
from tests.fake_stripe.state import State

CODE_LIVES = 300  # [verify] 5 minutes


class Grant(msgspec.Struct):
    """What a code or a refresh token stands for."""

    issued: float
    scope: str
    used: bool = False


class OAuth:
    """One platform (`client_id`, `platform_key`) and one account that may be connected to it."""

    def __init__(self, state: State, keys: Keys) -> None:
        self._state, self._keys = state, keys
        self.client_id = f"ca_{state.new_id('charge')[4:]}"
        self.platform_key = f"sk_{'live' if state.livemode else 'test'}_{state.new_id('charge')[4:]}"
        self.platform_account = state.new_id("account")
        keys.add(self.platform_key).platform = True
        self._codes: dict[str, Grant] = {}
        self._refresh: dict[str, Grant] = {}
        self.connected: set[str] = set()
        self.tokens: list[str] = []
        self.on_deauthorized: Callable[[], None] = lambda: None

    def answer(self, method: str, path: str, query: str, body: bytes, authorization: str) -> tuple[int, dict[str, str], dict]:
        """Status, headers, JSON."""
        if method == "GET" and path == "/oauth/authorize":
            return self._authorize(dict(parse_qsl(query)))
        given = dict(parse_qsl(body.decode()))
        secret = given.get("client_secret") or authorization.partition(" ")[2]
        if secret != self.platform_key:
            return _refused(401, "invalid_client", "No such API key")
        if method == "POST" and path == "/oauth/token":
            return self._token(given)
        if method == "POST" and path == "/oauth/deauthorize":
            return self._deauthorize(given)
        return _refused(404, "invalid_request", "Unrecognized request URL")

    def _authorize(self, given: dict[str, str]) -> tuple[int, dict[str, str], dict]:
        """The admin agrees at once: back to the redirect URI with a code and the state."""
        if given.get("client_id") != self.client_id or given.get("response_type") != "code":
            return _refused(400, "invalid_request", "No application matches the supplied client identifier")
        code = f"ac_{self._state.new_id('charge')[4:]}"
        self._codes[code] = Grant(self._state.clock.time(), given.get("scope", "read_only"))
        back = {"code": code, "scope": given.get("scope", "read_only")} | (
            {"state": given["state"]} if "state" in given else {}
        )
        return 302, {"Location": f"{given.get('redirect_uri', '')}?{urlencode(back)}"}, {}

    def _token(self, given: dict[str, str]) -> tuple[int, dict[str, str], dict]:
        kind = given.get("grant_type")
        if kind == "authorization_code":
            grant = self._codes.get(given.get("code", ""))
            if grant is None or grant.used:
                return _refused(400, "invalid_grant", "Authorization code does not exist or was already used")
            if self._state.clock.time() - grant.issued > CODE_LIVES:
                return _refused(400, "invalid_grant", "Authorization code expired")
            grant.used = True
        elif kind == "refresh_token":
            grant = self._refresh.get(given.get("refresh_token", ""))
            if grant is None or grant.used:
                return _refused(400, "invalid_grant", "Refresh token is not valid")
        else:
            return _refused(400, "unsupported_grant_type", f"Grant type {kind} is not supported")
        return 200, {}, self._issue(grant.scope)

    def _issue(self, scope: str) -> dict:
        access = f"sk_{'live' if self._state.livemode else 'test'}_{self._state.new_id('charge')[4:]}"
        refresh = f"rt_{self._state.new_id('charge')[4:]}"
        self._keys.add(access)
        self.tokens.append(access)
        self._refresh[refresh] = Grant(self._state.clock.time(), scope)
        self.connected.add(self._state.account_id)
        return {
            "access_token": access,
            "refresh_token": refresh,
            "token_type": "bearer",
            "scope": scope,
            "livemode": self._state.livemode,
            "stripe_user_id": self._state.account_id,
        }

    def _deauthorize(self, given: dict[str, str]) -> tuple[int, dict[str, str], dict]:
        account = given.get("stripe_user_id", "")
        if given.get("client_id") != self.client_id or account not in self.connected:
            return _refused(400, "invalid_client", "This application is not connected to the account")
        self.connected.discard(account)
        self.on_deauthorized()
        for token in self.tokens:
            self._keys.revoke(token)
        for grant in self._refresh.values():
            grant.used = True
        return 200, {}, {"stripe_user_id": account}


def _refused(status: int, error: str, description: str) -> tuple[int, dict[str, str], dict]:
    return status, {}, {"error": error, "error_description": description}
