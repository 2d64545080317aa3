"""What each account of a vast Stripe is, by its number: a pure function of the seed, so that nothing has to be kept.

An account is one Stripe customer with what it bought. Its class (`Kind`) says what its objects look like, its values (`Own`,
and `Bill` for each invoice) what is written in them.
"""

import random
from array import array
from base64 import b64encode
from hashlib import blake2b
from typing import NamedTuple

from tests.fake_stripe.generate import PROFILES
from tests.fake_stripe.names import PERSONAL, Company, company_of

DAY = 86_400
BILLS = 2  # invoices that an account has at most
PERIODS = {"annual": ("annual", 365 * DAY), "quarterly": ("quarterly", 90 * DAY)}
MONTHLY = ("monthly", 30 * DAY)
TIERS = ("starter",) * 5 + ("growth",) * 4 + ("scale",)
QUANTITIES = (1, 1, 1, 2, 3, 5)
SEATS = (2, 3, 5, 8, 12, 20, 35, 60)
STORAGE = (40, 150, 400, 900)
SEGMENTS = (b"smb", b"mid-market", b"enterprise")
NAMES = tuple(PROFILES)

_LETTERS = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PAIRS = tuple(bytes((a, b)) for a in _LETTERS for b in _LETTERS)
_PLACE = {pair: place for place, pair in enumerate(_PAIRS)}
_SLOTS = b"ABCDEF"
_MANY = len(_PAIRS) ** 2
_STEP, _START = 9_973_391, 4_242_424
_BACK = pow(_STEP, -1, _MANY)
# prefix, and which part of the account's digest follows it
_FORM = {
    "customer": (b"cus_", slice(0, 9)), "subscription": (b"sub_1", slice(4, 22)), "subscription_item": (b"si_", slice(20, 29)),
    "invoice": (b"in_1", slice(30, 48)), "line_item": (b"il_1", slice(13, 31)), "invoice_payment": (b"inpay_1", slice(44, 62)),
    "payment_intent": (b"pi_3", slice(7, 25)), "discount": (b"di_1", slice(36, 54)),
    "payment_method": (b"pm_1", slice(25, 43))}  # fmt: skip

OWN_IDS = ("customer", "subscription", "discount", "payment_method")
Ids = tuple[bytes, bytes]  # a digest of the account's number, and the number itself in disguise


class Kind(NamedTuple):
    """What decides how an account's objects look: everything but the values. `prices`: lookup keys and quantities; `bills`: how
    many invoices; `whole`: the first of them is the first of all; `attempts` to collect the newest."""

    profile: str
    currency: str
    prices: tuple[tuple[str, int | None], ...]
    bills: int
    whole: bool
    attempts: int
    named: bool


class Own(NamedTuple):
    """The values of a customer and its subscription."""

    customer: bytes
    created: int
    email: bytes
    name: bytes
    prefix: bytes
    method: bytes
    segment: bytes
    country: bytes
    sequence: int
    subscription: bytes
    begun: int
    start: int
    end: int
    items: tuple[bytes, bytes, bytes]
    discount: bytes
    workspace: bytes


class Bill(NamedTuple):
    """The values of an invoice and its payment."""

    invoice: bytes
    start: int
    end: int
    number: bytes
    lines: tuple[bytes, bytes, bytes]
    paid: int
    payment: bytes
    intent: bytes
    due: int


class Plan:
    """Accounts by number, oldest first. `profiles` and `luck` are all that is kept of them."""

    def __init__(self, seed: int, accounts: int, now: int, years: int) -> None:
        rng = random.Random(seed)
        self.now, self.accounts = now, accounts
        self._key = b"%d" % seed
        self._oldest = now - years * 365 * DAY + 10 * DAY
        self._span = now - 3 * DAY - self._oldest
        self.profiles = bytearray(rng.choices(range(len(NAMES)), list(PROFILES.values()), k=accounts))
        self._luck = array("Q", rng.randbytes(8 * accounts))

    def who(self, k: int) -> Company | None:
        """Its company; None: somebody with a personal address."""
        return None if k % 20 == 19 else company_of(k, far_east=bool(self._luck[k] & 1))

    def times(self, k: int) -> tuple[int, int, int, int]:
        """When the customer and the subscription were made, and the period that runs."""
        created = self._oldest + self._span * k // self.accounts
        begun = created + (self._luck[k] >> 4) % DAY
        profile = NAMES[self.profiles[k]]
        if profile == "trial":
            begun = self.now - (1 + (self._luck[k] >> 4) % 11) * DAY - (self._luck[k] >> 9) % DAY
            return created, begun, begun, begun + 14 * DAY
        period = PERIODS.get(profile, MONTHLY)[1]
        start = self.now - (self.now - begun) % period
        return created, begun, start, start + period

    def bills(self, k: int, begun: int, start: int, end: int) -> int:
        """How many invoices it has."""
        if NAMES[self.profiles[k]] == "none":
            return 0
        return min(BILLS, 1 + (start - begun) // (end - start))

    def kind(self, k: int, who: Company | None, times: tuple[int, int, int, int]) -> Kind:
        """Its class."""
        _, begun, start, end = times
        profile = NAMES[self.profiles[k]]
        bills = self.bills(k, begun, start, end)
        attempts = 1 + (self.now - start) // (3 * DAY) % 3 if profile == "failing" else 1
        whole = (start - begun) // (end - start) < BILLS
        currency = who.currency if who else "usd"
        return Kind(profile, currency, self._prices(k, profile), bills, whole, attempts, who is not None)

    def _prices(self, k: int, profile: str) -> tuple[tuple[str, int | None], ...]:
        luck = self._luck[k]
        base = f"{TIERS[(luck >> 24) % 10]}_{PERIODS.get(profile, MONTHLY)[0]}"
        if profile == "seats":
            return (("seats_monthly", SEATS[(luck >> 32) % 8]),)
        if profile == "api":
            return ((base, 1), ("api_usage", None))
        if profile == "several":
            return ((base, 1), ("seats_monthly", SEATS[(luck >> 32) % 4]), ("storage_monthly", STORAGE[(luck >> 40) % 4]))
        return ((base, QUANTITIES[(luck >> 32) % 6]),)

    def ids(self, k: int) -> Ids:
        """What all its ids are made from."""
        return b64encode(blake2b(b"%d" % k, digest_size=48, key=self._key).digest(), b"Zz"), self._code(k)

    def own(self, k: int, ids: Ids, who: Company | None, times: tuple[int, int, int, int], bills: int) -> Own:
        """Its values."""
        luck = self._luck[k]
        created, begun, start, end = times
        if who is None:
            name, country = b"Somebody %d" % k, b"US"
            email = b"somebody.%d@" % k + PERSONAL[luck % len(PERSONAL)].encode()
        else:
            name, country, email = who.name.encode(), who.country.encode(), b"billing@" + who.domain.encode()
        customer, subscription, discount, method = (_stem(kind, ids) + b"A" for kind in OWN_IDS)
        item = _stem("subscription_item", ids)
        return Own(
            customer, created, email, name, customer[4:12].upper(), method, SEGMENTS[luck % 3], country, bills + 1,
            subscription, begun, start, end, (item + b"A", item + b"B", item + b"C"), discount,
            b"ws_%08d" % (luck % 100_000_000))  # fmt: skip

    def bill(self, ids: Ids, slot: int, own: Own, bills: int) -> Bill:
        """The values of its invoice number `slot`, oldest first."""
        line, end = _stem("line_item", ids), _SLOTS[slot : slot + 1]
        lines = (line + b"A", line + b"B", line + b"C") if slot == 0 else (line + b"D", line + b"E", line + b"F")
        period = own.end - own.start
        start = own.start - (bills - 1 - slot) * period
        return Bill(
            _stem("invoice", ids) + end, start, start + period, own.prefix + b"-%04d" % (slot + 1), lines, start + 5,
            _stem("invoice_payment", ids) + end, _stem("payment_intent", ids) + end, start + 14 * DAY)  # fmt: skip

    # --- ids ------------------------------------------------------------------------------------------

    def _code(self, k: int) -> bytes:
        place = (k * _STEP + _START) % _MANY
        return _PAIRS[place // len(_PAIRS)] + _PAIRS[place % len(_PAIRS)]

    def id(self, kind: str, k: int, slot: int = 0) -> str:
        """The id of one object."""
        return (_stem(kind, self.ids(k)) + _SLOTS[slot : slot + 1]).decode()

    def account_of(self, kind: str, id_: str) -> tuple[int, int] | None:
        """The account and the slot that an id stands for; None: it isn't one of these."""
        code = id_[-5:-1].encode()
        first, second = _PLACE.get(code[:2]), _PLACE.get(code[2:])
        slot = _SLOTS.find(id_[-1:].encode())
        if first is None or second is None or slot < 0:
            return None
        k = (first * len(_PAIRS) + second - _START) * _BACK % _MANY
        return (k, slot) if k < self.accounts and self.id(kind, k, slot) == id_ else None


def _stem(kind: str, ids: Ids) -> bytes:
    """An id without its last letter."""
    prefix, part = _FORM[kind]
    return prefix + ids[0][part] + ids[1]
