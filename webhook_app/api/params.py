"""Query parameters, read strictly: an unknown or unusable one is named, never ignored (a typo in a filter would otherwise
show everybody)."""

import base64
import hashlib
from collections.abc import Collection

import msgspec
from werkzeug.datastructures import MultiDict

from models.errors import BadInput
from models.store.readmodel import ENVIRONMENTS, LONGEST_QUERY, MOST_ROWS, SORTS, STATUSES, Filter, Position

DEFAULT_LIMIT = 50
LIST_PARAMETERS = frozenset({"q", "payment_status", "plan", "environment", "sort", "limit", "cursor"})
CHANGES_PARAMETERS = frozenset({"limit", "cursor"})
_MOST_VALUES = 50
_CHECK_BYTES = 6


class BadParameter(BadInput):
    """A query parameter that can't be used. `parameter` is its name."""

    def __init__(self, parameter: str, problem: str) -> None:
        super().__init__(f"{parameter}: {problem}")
        self.parameter = parameter
        self.problem = problem


def known_only(args: MultiDict[str, str], known: Collection[str]) -> None:
    """Refuse parameters we don't know.

    Raises:
        BadParameter: names the first one.
    """
    for name in args:
        if name not in known:
            raise BadParameter(name[:64], f"is no parameter here; there are {', '.join(sorted(known))}")


def one(args: MultiDict[str, str], name: str) -> str | None:
    """The one value of a parameter that may stand once.

    Raises:
        BadParameter: it stands twice.
    """
    values = args.getlist(name)
    if len(values) > 1:
        raise BadParameter(name, "stands more than once")
    return values[0] if values else None


def read_limit(args: MultiDict[str, str]) -> int:
    """Rows on a page: 1 to 200, 50 when not given.

    Raises:
        BadParameter: anything else.
    """
    text = one(args, "limit")
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MOST_ROWS):
        raise BadParameter("limit", f"takes 1 to {MOST_ROWS}")
    return int(text)


def read_sort(args: MultiDict[str, str]) -> str:
    """The order: highest MRR first when not given.

    Raises:
        BadParameter: no such order.
    """
    return _choice("sort", one(args, "sort") or SORTS[0], SORTS)


def read_filter(args: MultiDict[str, str]) -> Filter:
    """What the list is narrowed to.

    Raises:
        BadParameter: names the one that can't be used.
    """
    statuses = [part for value in args.getlist("payment_status") for part in value.split(",")]
    environment = one(args, "environment")
    return Filter(
        q=_text("q", one(args, "q") or ""),
        statuses=tuple(dict.fromkeys(_choice("payment_status", value, STATUSES) for value in statuses)),
        plans=tuple(dict.fromkeys(_text("plan", value) for value in args.getlist("plan")))[:_MOST_VALUES],
        environment=None if environment is None else _choice("environment", environment, ENVIRONMENTS),
    )


def _choice(name: str, value: str, allowed: Collection[str]) -> str:
    if value not in allowed:
        raise BadParameter(name, f"takes {', '.join(allowed)}")
    return value


def _text(name: str, value: str) -> str:
    if len(value) > LONGEST_QUERY:
        raise BadParameter(name, f"takes {LONGEST_QUERY} characters at most")
    if any(ord(character) < 32 or 0xD800 <= ord(character) < 0xE000 for character in value):
        raise BadParameter(name, "holds a character that no text has")
    return value


# --- Cursors ------------------------------------------------------------------------------------------


def write_cursor(kind: str, position: Position) -> str:
    """A position as opaque text. `kind` is the list and order it belongs to. It grants nothing: the check only finds
    what was cut, mistyped or meant for another order."""
    body = msgspec.json.encode([kind, position.key, position.id])
    return base64.urlsafe_b64encode(_check(body) + body).decode().rstrip("=")


def read_cursor(kind: str, text: str | None) -> Position | None:
    """The position in a cursor of ours, None where none was given.

    Raises:
        BadParameter: not a cursor of this list in this order.
    """
    if text is None:
        return None
    wrong = BadParameter("cursor", "isn't one of this list in this order; begin again without it")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        found_kind, key, row_id = msgspec.json.decode(raw[_CHECK_BYTES:], type=tuple[str, int | str | None, int])
    except (ValueError, msgspec.DecodeError):
        raise wrong from None
    intact = raw[:_CHECK_BYTES] == _check(raw[_CHECK_BYTES:]) and found_kind == kind
    if not intact or write_cursor(kind, Position(key, row_id)) != text:
        raise wrong
    return Position(key, row_id)


def _check(body: bytes) -> bytes:
    return hashlib.sha256(b"pivotal cursor " + body).digest()[:_CHECK_BYTES]
