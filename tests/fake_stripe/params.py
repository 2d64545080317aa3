"""A query string read as Stripe reads it: typed, bounded, and with an error that names the parameter."""

import re
from urllib.parse import parse_qsl

from tests.fake_stripe.errors import ApiError

_NESTED = re.compile(r"([a-z_0-9]+)\[([a-z_0-9]*)\]")
BOUNDS = ("gt", "gte", "lt", "lte")
MAX_TYPES = 20


class Params:
    """The parameters of one request. `lists` are arrays by name, `bounds` ranges by name, `plain` the rest."""

    def __init__(self, query: str, allowed: frozenset[str]) -> None:
        self.plain: dict[str, str] = {}
        self.lists: dict[str, list[str]] = {}
        self.bounds: dict[str, dict[str, int]] = {}
        for name, value in parse_qsl(query, keep_blank_values=True):
            self._take(name, value, allowed)

    def _take(self, name: str, value: str, allowed: frozenset[str]) -> None:
        nested = _NESTED.fullmatch(name)
        base = nested[1] if nested else name
        if base not in allowed and name not in allowed:
            raise ApiError(400, f"Received unknown parameter: {base}", code="parameter_unknown", param=base)
        if nested is None:
            if base in {"expand", "types"}:
                raise ApiError(400, "Invalid array", param=base)
            self.plain[base] = value
        elif base in {"expand", "types"}:
            self.lists.setdefault(base, []).append(value)
        elif nested[2] in BOUNDS:
            self.bounds.setdefault(base, {})[nested[2]] = integer(value, name)
        elif name in allowed:
            self.plain[name] = value
        else:
            raise ApiError(400, f"Received unknown parameter: {name}", code="parameter_unknown", param=name)

    def get(self, name: str) -> str | None:
        """A plain parameter."""
        return self.plain.get(name)

    def limit(self) -> int:
        """1 to 100, by default 10."""
        if "limit" not in self.plain:
            return 10
        value = integer(self.plain["limit"], "limit")
        if not 1 <= value <= 100:
            side = "greater than or equal to 1" if value < 1 else "less than or equal to 100"
            raise ApiError(
                400, f"This value must be {side} (it currently is '{value}').", code="parameter_invalid_integer", param="limit"
            )
        return value

    def flag(self, name: str) -> bool | None:
        """A boolean, or None when it isn't there."""
        value = self.plain.get(name)
        if value is None:
            return None
        if value not in {"true", "false"}:
            raise ApiError(400, f"Invalid boolean: {value}", param=name)
        return value == "true"

    def created(self) -> dict[str, int]:
        """The bounds of `created`; a bare value means exactly then."""
        if "created" in self.plain:
            exact = integer(self.plain["created"], "created")
            return {"gte": exact, "lte": exact}
        return self.bounds.get("created", {})

    def word(self, name: str, allowed: frozenset[str]) -> str | None:
        """One of some words."""
        value = self.plain.get(name)
        if value is not None and value not in allowed:
            raise ApiError(400, f"Invalid {name}: must be one of {', '.join(sorted(allowed))}", param=name)
        return value


def integer(value: str, name: str) -> int:
    """A whole number.

    Raises:
        ApiError: 400 that names the parameter.
    """
    if re.fullmatch(r"-?[0-9]{1,18}", value) is None:
        raise ApiError(400, f"Invalid integer: {value}", code="parameter_invalid_integer", param=name)
    return int(value)
