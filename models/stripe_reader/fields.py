"""Reading single fields of a Stripe object, tolerantly but never guessing money.

What is missing or null is absent. Text we can do without is treated as absent when it is junk. A number the rules need
(an amount, a quantity, a time) that is there and is no number makes the object unreadable: money is never guessed.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from models.errors import Unreadable

Data = Mapping[str, object]
OBJECT = (dict, Mapping)  # for `isinstance`: nearly all are dicts, which is told a tenth as slowly as an abstract class
_LIST = (list, tuple)

# Stripe amounts have up to 12 digits and 12 places. The bounds keep absurd numbers (1e400000 is nine bytes of JSON) from
# turning into megabytes of digits, and whole numbers inside what both databases hold.
_MOST_DIGITS_BEFORE_POINT = 18
_MOST_PLACES = 24
LARGEST_WHOLE = 2**63 - 1
_LARGEST_AMOUNT = 10**15  # of an invoice, so that sums over a customer's stay within 64 bits as well
# PostgreSQL's indexes hold no key of some thousands of bytes. Stripe's own limits are lower, or the same.
_LONGEST_ID = 255  # bytes
_LONGEST_NAME = 250  # characters
_NO_NUMBER = Decimal("NaN")
MOST_ITEMS = 2_000
MOST_DISCOUNTS = 30
MOST_TIERS = 1_000
"""In one list. Stripe allows fewer; exact sums over thousands of discounts would take minutes (I10)."""
_END_OF_TIME = 253_402_300_799  # 9999-12-31, the last second Python's datetime can show


class Fields:
    """The fields of one object. `owner` is the id that an `Unreadable` names."""

    __slots__ = ("data", "owner")

    def __init__(self, data: Data, owner: str) -> None:
        self.data = data
        self.owner = owner

    def text(self, key: str) -> str | None:
        """The text at `key`, without NUL (PostgreSQL stores none); anything else, the empty text included, is absent."""
        value = self.data.get(key)
        if not isinstance(value, str) or not value:
            return None
        return value.replace("\x00", "") or None if "\x00" in value else value

    def name(self, key: str) -> str | None:
        """A text that may become the plan: cut where it is longer than any name that can be read at a glance."""
        value = self.text(key)
        return value[:_LONGEST_NAME] if value else None

    def word(self, key: str, default: str) -> str:
        """A word of Stripe's (a status, a type), unknown ones included; absent: `default`."""
        return self.text(key) or default

    def flag(self, key: str) -> bool:
        """True only where Stripe says true."""
        return self.data.get(key) is True

    def part(self, key: str) -> Data | None:
        """The object at `key`, if it is one."""
        value = self.data.get(key)
        return value if isinstance(value, OBJECT) else None

    def reference(self, key: str) -> str | None:
        """The id at `key`, whether Stripe sent the id or the expanded object."""
        return reference(self.data.get(key))

    def key(self, key: str) -> str | None:
        """A text that is looked up (a lookup key, an account's id); absent where no index takes it."""
        value = self.data.get(key)
        return reference(value) if isinstance(value, str) else None

    def decimal(self, key: str) -> Decimal | None:
        """An exact number, minor units for amounts. Raises `Unreadable` for what is no number."""
        value = self.data.get(key)
        if value is None:
            return None
        number = _exact(value)
        if number is None:
            raise Unreadable(self.owner, f"{key} is no number")
        return number

    def whole(self, key: str) -> int | None:
        """A whole number. Raises `Unreadable` for what is none, or has too many digits to be stored."""
        value = self.data.get(key)
        if type(value) is int and -LARGEST_WHOLE <= value <= LARGEST_WHOLE:
            return value
        number = self.decimal(key)
        if number is None:
            return None
        if number != number.to_integral_value() or abs(number) > LARGEST_WHOLE:
            raise Unreadable(self.owner, f"{key} is no whole number")
        return int(number)

    def amount(self, key: str) -> int | None:
        """A whole amount of an invoice, in minor units. Raises `Unreadable` for what is none, or beyond any of Stripe's."""
        value = self.whole(key)
        if value is not None and abs(value) > _LARGEST_AMOUNT:
            raise Unreadable(self.owner, f"{key} is no amount")
        return value

    def moment(self, key: str) -> int | None:
        """A time in unix seconds. Raises `Unreadable` for what is none."""
        value = self.whole(key)
        if value is not None and not 0 <= value <= _END_OF_TIME:
            raise Unreadable(self.owner, f"{key} is no time")
        return value

    def moment_or_none(self, key: str) -> int | None:
        """A time that only informs or breaks ties: junk is treated as absent."""
        try:
            return self.moment(key)
        except Unreadable:
            return None

    def lower(self, key: str) -> str | None:
        """A currency code, lower-case as Stripe sends it."""
        value = self.text(key)
        return value.lower() if value else None


def fields_of(value: object, kind: str) -> Fields:
    """The fields of `value`, named by its id. Raises `Unreadable` when it is no object or its id is no text."""
    if not isinstance(value, OBJECT):
        raise Unreadable(value if isinstance(value, str) and value else kind, f"{kind} is no object")
    object_id = reference(value)
    if object_id is None:
        raise Unreadable(kind, f"{kind} has no id")
    return Fields(value, object_id)


def named(owner: str, error: Unreadable) -> Unreadable:
    """The same problem, told of the whole object: a part that can't be read makes its owner unreadable."""
    return error if error.object_id == owner else Unreadable(owner, str(error))


def reference(value: object) -> str | None:
    """The id in an expandable field: the text itself, or the `id` of the object that stands there.

    None for what no database takes as a key: a text with NUL, or a longer one than any of Stripe's.
    """
    if isinstance(value, OBJECT):
        value = value.get("id")
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_ID or "\x00" in value:
        return None
    return value if value.isascii() or len(value.encode("utf-8", "surrogatepass")) <= _LONGEST_ID else None


def listed(value: object) -> list[object] | None:
    """The entries of an embedded list, bare or as a list object; None when it is neither."""
    if isinstance(value, OBJECT):
        value = value.get("data")
    return list(value) if isinstance(value, _LIST) else None


def bounded(entries: list[object], most: int, owner: str, what: str) -> list[object]:
    """`entries`. Raises `Unreadable` when there are more than the rules can be carried out on in bearable time."""
    if len(entries) > most:
        raise Unreadable(owner, f"more than {most} {what}")
    return entries


def decimal_or_nan(text: str) -> Decimal:
    """A fraction in JSON, exact. NaN, so that only who needs the number is told that it is none, where even `Decimal` refuses
    it (1e99999999999999999999)."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return _NO_NUMBER


def truncated(value: object) -> bool:
    """Whether an embedded list holds only its first page (`has_more`, FAULTS F24)."""
    return isinstance(value, OBJECT) and value.get("has_more") is True


def _exact(value: object) -> Decimal | None:
    """`value` as an exact finite number of bearable size. A float goes through its shortest text, never its binary."""
    if isinstance(value, bool) or not isinstance(value, (int, str, float, Decimal)):
        return None
    if isinstance(value, str) and len(value) > _MOST_DIGITS_BEFORE_POINT + _MOST_PLACES:
        return None
    if isinstance(value, int) and abs(value) > LARGEST_WHOLE:
        return None
    try:
        number = value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation:
        return None
    return _bearable(number)


def _bearable(number: Decimal) -> Decimal | None:
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int):
        return None  # NaN and the infinities
    if not number:
        return Decimal(0)  # 0e-999999 would be shown with a million places
    return number if exponent >= -_MOST_PLACES and number.adjusted() <= _MOST_DIGITS_BEFORE_POINT else None
