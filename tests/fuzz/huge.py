"""Large inputs, up to the 1 MiB that a webhook body may have: what is cheap for one of a thing must be so for thousands."""

import random

from models.stripe_reader.fields import MOST_DISCOUNTS, MOST_ITEMS
from tests.fuzz.seeds import compact
from tests.unit import stripe_json as build
from tests.unit.stripe_json import NOW, Json

LARGEST = 1 << 20
_SHARE = "33.333333333333333333333333"


def _fitting(rng: random.Random, size: int) -> int:
    """How many things of `size` bytes; rarely as many as there is room for."""
    most = (LARGEST - 4_000) // (size + 1)
    return max(1, rng.choice([most, most // 10, most // 100, 500, 50]))


def _repeated(rng: random.Random, entry: bytes) -> bytes:
    return b",".join([entry] * min(_fitting(rng, len(entry)), (LARGEST - 4_000) // (len(entry) + 1)))


def subscription(rng: random.Random) -> bytes:
    """One with thousands of items, discounts, tiers or currencies."""
    one = build.subscription(build.item(build.price(), rng.choice([1, 10**6])))
    what = rng.choice(["grid", "items", "discounts", "item_discounts", "tiers", "currencies", "ids", "amounts_off", "metadata"])
    if what == "grid":  # as many of everything as the reader lets through
        return _grid(rng)
    if what == "items":
        one["items"]["data"] = "@"
        entry = compact(build.item(build.price(amount="0.3333333333333333")))
    elif what in ("discounts", "ids", "amounts_off"):
        one["discounts"] = "@"
        off: Json = {"amount_off": "0.7"} if what == "amounts_off" else {"percent_off": _SHARE}
        entry = b'"di_1"' if what == "ids" else compact({"coupon": {"id": "C", "duration": "forever", **off}})
    elif what == "item_discounts":
        one["items"]["data"][0]["discounts"] = "@"
        entry = compact({"coupon": {"id": "C", "duration": "forever", "percent_off": _SHARE}})
    elif what == "tiers":
        price = build.price(amount=None, billing_scheme="tiered", tiers_mode=rng.choice(["volume", "graduated"]), tiers="@")
        one["items"]["data"][0] = build.item(price, 10**9)
        entry = rng.choice([b'{"up_to":7,"unit_amount":1}', b'{"up_to":null,"unit_amount_decimal":"0.333"}', b"{}", b"1"])
    else:
        keys = [f'"k{number:06d}":{{"unit_amount":{number}}}' for number in range(_fitting(rng, 32))]
        where = one["items"]["data"][0]["price"] if what == "currencies" else one
        where["currency_options" if what == "currencies" else "metadata"] = "@"
        return compact(one).replace(b'"@"', b"{" + ",".join(keys).encode()[: LARGEST - 9_000].rpartition(b",")[0] + b"}")
    return compact(one).replace(b'"@"', b"[" + _repeated(rng, entry) + b"]")


def _grid(rng: random.Random) -> bytes:
    off = rng.choice([{"percent_off": _SHARE}, {"amount_off": "0.777777777777777777777777"}])
    of = [{"coupon": {"id": "C", "duration": "forever", **off}} for _ in range(MOST_DISCOUNTS)]
    discounts = rng.choice([[], of])
    item = compact(build.item(build.price(amount="99.333333333333333333333333"), 7, discounts=discounts))
    number = min(MOST_ITEMS, (LARGEST - 9_000) // (len(item) + 1))
    one = build.subscription(discounts=of)
    one["items"]["data"] = "@"
    return compact(one).replace(b'"@"', b"[" + b",".join([item] * number) + b"]")


def invoice(rng: random.Random) -> bytes:
    """One with thousands of payments."""
    entry = compact(build.payments("processing")["data"][0])
    one = build.invoice(payments={"object": "list", "data": "@"}, number="A" + "0" * rng.choice([1, 3_000]) + "7")
    return compact(one).replace(b'"@"', b"[" + _repeated(rng, entry) + b"]")


def text(rng: random.Random) -> bytes:
    """A customer with one very long text."""
    units = ["a", "a.", "@", "\u00fc.", "-", "_", "9", ".", "xn--", "www.", "\u0130", "\u00ad", "a@", "://", " ", "\\"]
    unit = rng.choice(units)
    value = unit * (rng.choice([10**3, 10**4, 200_000]) // len(unit))
    shape = rng.choice(["{}", "{}@acme.com", "x@{}", "x@{}.com", "http://{}", "{}://x"])
    key = rng.choice(["email", "email", "id", "name", "currency"])
    return compact(build.customer(**{key: shape.format(value)}))[:LARGEST]


def event(rng: random.Random) -> bytes:
    """An event around one of the others, or around nothing but brackets, digits or backslashes."""
    inner = rng.choice([subscription, invoice, text, _noise])(rng)[: LARGEST - 300]
    head = {"id": "evt_1", "object": "event", "type": "customer.subscription.updated", "created": NOW, "livemode": True}
    return compact({**head, "data": {"object": "@"}}).replace(b'"@"', inner)


def _noise(rng: random.Random) -> bytes:
    units = [
        b"[", b"{", b'{"a":', b"[]", b"[],", b'"\\\\', b"\\", b'"', b"9", b"9,", b"-", b"1e", b'\\u0000', b"\\ud800",
        b"\\ud83d\\ude00",
        b'"a":1,', b"\xff", b"\xc3\xa9", b" ", b"1234567890123456789012345678901234567890,",
        b"x1234567890123456789012345678901234567890",
        b'"\\"', b"e" * 33 + b"9",
    ]  # fmt: skip
    unit = rng.choice(units)
    body = unit * (rng.choice([100, 5_000, LARGEST - 400]) // len(unit))
    return rng.choice([body, b'"' + body + b'"', b"[" + body + b"]", b'{"id":"x","k":' + body + b"}"])


def document(rng: random.Random) -> bytes:
    """An `explain` document of one huge object, or of many small ones."""
    what = rng.choice(["subscription", "invoice", "text", "many", "ours"])
    whole = build.document(build.subscription())
    if what == "many":
        number = rng.choice([100, 1_000])
        whole["subscriptions"] = [build.subscription(subscription_id=f"sub_{n}") for n in range(number)]
        whole["invoices"] = [build.failing(f"in_{n}", currency=rng.choice(["usd", "eur", f"x{n}"])) for n in range(number)]
    elif what == "ours":
        value = rng.choice(["a", "a.", "\u00fc"]) * 10**5
        whole["our_customers"] = [{"id": f"c{n}", "domain": f"{n}.{value}", "aliases": [value]} for n in range(3)]
    else:
        key = {"subscription": "subscriptions", "invoice": "invoices", "text": "customers"}[what]
        inner = {"subscription": subscription, "invoice": invoice, "text": text}[what](rng)
        return compact({**whole, key: ["@"]}).replace(b'"@"', inner)
    return compact(whole)
