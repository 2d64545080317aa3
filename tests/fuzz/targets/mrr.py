"""`explain` over hostile documents: nothing but `BadInput`, and what comes out is valid JSON of the documented types."""

import json
import random
from fractions import Fraction
from typing import Annotated, Any, Literal
from zlib import crc32

import msgspec
from msgspec import Meta

from models.domain.changes import changes
from models.domain.types import Summary
from models.errors import BadInput
from tests.fuzz import huge
from tests.fuzz.seeds import documents, golden, templates
from tests.fuzz.sources import JsonSource
from webhook_app.explain import explain, load_document

Int = Annotated[int, Meta(ge=-(2**63) + 1, le=2**63 - 1)]
Moment = Annotated[int, Meta(ge=0, le=253_402_300_799)]
_STAGES = ("customers", "subscriptions", "invoices", "prices", "products", "coupons", "our_customers", "links", "decisions")


_WHOLE = frozenset(["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"])
_THOUSANDTHS = frozenset(["bhd", "jod", "kwd", "omr", "tnd"])
_A_MONTH = {"month": Fraction(1), "year": Fraction(1, 12), "week": Fraction(52, 12), "day": Fraction(365, 12)}


class Overdue(msgspec.Struct, forbid_unknown_fields=True):
    currency: str
    amount: Int
    invoices: Int


class Native(msgspec.Struct, forbid_unknown_fields=True):
    currency: str
    monthly: str
    usd_cents: str | None
    rate: str | None
    rate_date: str | None
    rate_source: str | None


class Shown(msgspec.Struct, forbid_unknown_fields=True):
    """A customer of the output as RULES 8 documents it."""

    id: str
    plan: str | None
    plan_label: str | None
    mrr: Int | None
    payment_status: Literal["paid", "past_due", "failing", "none"]
    billing_started_at: Moment | None
    stripe_customer_id: str | None
    headline: str
    flags: list[str]
    next_change_at: Moment | None
    overdue: list[Overdue]
    native: list[Native]
    derivation: list[dict[str, Any]]
    subscription_id: str | None
    renews_at: Moment | None
    trial_ends_at: Moment | None
    cancels_at: Moment | None
    invoice_id: str | None
    amount_due: Int | None
    amount_due_currency: str | None
    failure_reason: str | None
    attempt_count: Int | None
    next_retry_at: Moment | None
    fx_date: str | None


class Matched(msgspec.Struct, forbid_unknown_fields=True):
    stripe_customer_id: str
    outcome: Literal["matched", "unmatched", "skipped"]
    reason: str
    customer_id: str | None


class Output(msgspec.Struct, forbid_unknown_fields=True):
    customers: list[Shown]
    matches: list[Matched]
    counts: dict[Literal["matched", "unmatched", "skipped", "ambiguous"], Int]
    flags: list[str]


class MrrTarget:
    """`webhook_app.explain` with everything below it: reader, matching, MRR, status, summary."""

    name = "mrr"
    watched = ("models/domain", "webhook_app/explain")

    def source(self, rng: random.Random) -> JsonSource:
        """Mutated documents."""
        ours = templates(documents())
        return JsonSource([*ours, *ours, *ours, *golden()], rng, noise=0.01, huge=[huge.document], huge_one_in=3_000)

    def run(self, data: bytes) -> tuple[str, ...]:
        """What `explain` says, in words."""
        document: Any = None
        try:
            document = load_document(data)
            found: Any = explain(document)
        except BadInput as error:
            return (_problem(str(error), document is None),)
        output = msgspec.convert(found, Output, strict=True)
        _check(output, document["now"])
        text = json.dumps(found, allow_nan=False)
        assert len(text) < 40_000 + 60 * len(data), "an output that is much longer than what it is about"
        number = crc32(data)
        if number % 8 == 0:
            assert json.loads(text) == found, "an output that is no JSON"
            _check_stored(found)
            _check_figures(output)
        if number % 16 == 1:
            _check_order(document, found)
        return _words(output)

    def settle(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to close."""


def _check(output: Output, now: int) -> None:
    for one in output.customers:
        unknown = any(flag.startswith("mrr_unknown:") for flag in one.flags)
        assert (one.mrr is None) is unknown, "an MRR that is unknown without a flag, or known with one"
        assert one.next_change_at is None or one.next_change_at > now, "a next change that doesn't lie ahead"
        assert one.flags == sorted(set(one.flags)), "flags doubled or out of order"
        assert one.mrr is None or "no plan" not in one.headline, "a headline that nobody wrote"
    counts = output.counts
    assert counts["matched"] + counts["unmatched"] + counts["skipped"] == len(output.matches), "counts that don't add up"
    assert all((match.customer_id is not None) is (match.outcome == "matched") for match in output.matches), "whose match?"


def _check_figures(output: Output) -> None:
    """RULES 5.1, 5.3 and 5.5 in other words: unknown statuses are flagged, intervals and divisors are as they are there."""
    for one in output.customers:
        for native in one.native:
            if native.usd_cents is None:
                assert f"no_usd_rate:{native.currency.upper()}" in one.flags, "an amount without a rate that nobody hears of"
                continue
            rate = Fraction(native.rate) if native.rate else Fraction(1)
            minor = 1 if native.currency in _WHOLE else 1000 if native.currency in _THOUSANDTHS else 100
            off = abs(Fraction(native.usd_cents) - Fraction(native.monthly) * rate * 100 / minor)
            assert off <= (1 + rate * 100) / 10**6, "USD that don't follow from the native amount"
        for line in one.derivation:
            if line["left_out"] == "unknown_status":
                assert f"unknown_subscription_status:{line['status']}" in one.flags, "an unknown status that nobody hears of"
            for item in line.get("items", ()):
                _check_interval(item)


def _check_interval(item: dict[str, Any]) -> None:
    factor, count = item["monthly_factor"], 1 if item["interval_count"] is None else item["interval_count"]
    if factor is not None:
        assert Fraction(factor) == _A_MONTH[item["interval"]] / count, "a period that isn't what it is called"
    elif item["kind"] == "recurring":
        assert item["unknown"] or item["amount"] == "0", "an amount for a period that nobody knows"


def _check_stored(found: dict[str, Any]) -> None:
    """A summary is stored as JSON and must say the same when read back; its changes can be stored too."""
    for one in found["customers"]:
        fields = {name: value for name, value in one.items() if name != "id"}
        summary = msgspec.convert(fields, Summary)
        text = _encoded(summary)
        if text is None:
            continue
        assert b"\\u0000" not in text, "NUL in a summary"
        assert msgspec.json.decode(text, type=Summary) == summary, "a summary that reads back differently"
        for change in changes(None, summary, "facts", False):
            msgspec.json.encode(change)


def _encoded(summary: Summary) -> bytes | None:
    """The stored form; None where the document held half a surrogate pair, which no event and no answer of Stripe's can."""
    try:
        return msgspec.json.encode(summary)
    except UnicodeEncodeError:
        return None


def _check_order(document: dict[str, Any], found: dict[str, Any]) -> None:
    turned = {key: value[::-1] if key in _STAGES and isinstance(value, list) else value for key, value in document.items()}
    again: Any = explain(turned)
    ours = {one["id"]: one for one in again["customers"]}
    assert again["matches"] == found["matches"], "the order of the lists matters to the matches"
    assert all(ours[one["id"]] == one for one in found["customers"]), "the order of the lists matters"


def _problem(text: str, unread: bool) -> str:
    """The kind of a problem, without what it quotes."""
    assert "\n" not in text or "stands there twice" in text or "is no key" in text, "an error of several lines"
    if unread:
        return "no JSON object"
    return " ".join(word for word in text.split()[-6:] if word.isalpha())


def _words(output: Output) -> tuple[str, ...]:
    words = {"explained"}
    for one in output.customers:
        words |= {flag if flag.startswith("mrr_unknown") else flag.partition(":")[0] for flag in one.flags}
        words |= {one.payment_status, f"reason {one.failure_reason is not None}"}
        for line in one.derivation:
            words.add(f"left out {line['left_out']}" if line["left_out"] in _LEFT_OUT else "counts")
            words |= {f"discount {step['outcome']}" for step in line.get("discounts", ())}
    words |= {f"{match.outcome} {match.reason}" for match in output.matches}
    return tuple(words)


_LEFT_OUT = frozenset(["out_of_scope", "unknown_status", "cancelling", "lost_to_winner", "status_trialing", "status_paused"])
