"""RULES 4 (scope and plan), 6 (payment status) and 8 (headline)."""

import pytest

from models.domain.plan import plan_label
from models.domain.summary import headline
from tests.unit.explained import explained
from tests.unit.stripe_json import (
    DAY,
    NOW,
    coupon,
    customer,
    discount,
    failing,
    invoice,
    item,
    paid,
    payments,
    price,
    subscription,
)

DECLINED = {"code": "card_declined", "decline_code": "do_not_honor", "message": "No."}


def _status(*invoices: dict, **keys: object) -> str:
    return explained(subscription(), invoices=list(invoices), **keys)["payment_status"]


@pytest.mark.parametrize(
    ("of", "status"),
    [
        (paid(), "paid"),
        (paid(amount_due=0), "paid"),
        (invoice(paid=True), "paid"),
        (invoice(status="void", paid=True), "none"),
        (invoice(status="draft"), "none"),
        (invoice(status="deleted"), "none"),
        (invoice(status=None), "none"),
        (invoice(), "none"),
        (failing(), "failing"),
        (failing(amount_remaining=0), "none"),
        (invoice(attempted=True), "none"),
        (invoice(attempt_count=1, next_payment_attempt=NOW + DAY), "none"),
        (invoice(attempt_count=3), "failing"),  # automatic, no next attempt: used up
        (invoice(attempt_count=3, collection_method="send_invoice"), "none"),
        (invoice(payments=payments("requires_payment_method", DECLINED)), "failing"),
        (invoice(payments=payments("requires_payment_method")), "none"),
        (invoice(payments=payments("requires_action")), "failing"),
        (failing(payments=payments("processing")), "none"),
        (failing(payment_intent={"id": "pi_1", "status": "processing"}), "none"),
        (failing(charge={"id": "py_1", "status": "pending"}), "none"),
        (invoice(payment_intent={"id": "pi_1", "status": "requires_action"}), "failing"),
        (invoice(due_date=NOW, collection_method="send_invoice"), "past_due"),
        (invoice(due_date=NOW + 1, collection_method="send_invoice"), "none"),
        (failing(due_date=NOW - DAY, collection_method="send_invoice"), "failing"),
        (invoice(due_date=NOW - DAY, payments=payments("processing")), "none"),
        (invoice(status="uncollectible"), "past_due"),
        (failing(status="uncollectible"), "failing"),
        (invoice(status="uncollectible", status_details={"uncollectible": {"reason": "max_payment_attempts"}}), "failing"),
        (invoice(status="uncollectible", payments=payments("requires_payment_method", DECLINED)), "failing"),
    ],
)
def test_what_one_invoice_says(of: dict, status: str) -> None:
    assert _status(of) == status


def test_the_newest_informative_invoice_decides_ties_by_number_then_id() -> None:
    at = NOW - 9 * DAY
    assert _status(paid(created=at), failing(created=at - 1)) == "paid"
    assert _status(paid(created=at, number="A-9"), failing(created=at, number="A-10")) == "failing"
    assert _status(paid("in_b", created=at), failing("in_a", created=at)) == "paid"
    assert _status(paid(created=at), invoice(created=at + 1), invoice("in_v", created=at + 2, status="void")) == "paid"


def test_older_unpaid_ones_are_summed_per_currency_and_do_not_change_the_word() -> None:
    old = {"created": NOW - 60 * DAY}
    found = explained(
        subscription(),
        invoices=[
            paid(),
            failing("in_1", **old, amount_remaining=700),
            invoice("in_2", **old, status="uncollectible", amount_remaining=50, currency="eur"),
            invoice("in_3", **old, due_date=NOW - DAY, amount_remaining=300),
            invoice("in_4", **old),
            failing("in_5", **old, payments=payments("processing")),
        ],
    )
    assert found["payment_status"] == "paid"
    assert found["overdue"] == [
        {"currency": "eur", "amount": 50, "invoices": 1},
        {"currency": "usd", "amount": 1000, "invoices": 2},
    ]
    assert found["headline"].endswith("paid")


def test_the_deciding_invoice_itself_is_not_overdue_money_twice() -> None:
    assert explained(subscription(), invoices=[failing()])["overdue"] == []


def test_a_manual_invoice_counts_with_scope_all_only() -> None:
    manual = failing("in_manual", parent=None, created=NOW)
    renewal = paid(created=NOW - DAY)
    assert _status(manual, renewal) == "failing"
    scope = {"scope": {"kind": "products", "values": ["prod_1"]}}
    assert _status(manual, renewal, settings=scope) == "paid"
    assert _status(manual, renewal, settings={"scope": {"kind": "products", "values": ["prod_2"]}}) == "none"


@pytest.mark.fault("F78")
def test_the_next_change_is_the_earliest_due_date_or_end_of_a_discount() -> None:
    half = discount(coupon("HALF", percent_off=50, duration="repeating"), end=NOW + 3 * DAY)
    due = invoice(due_date=NOW + 2 * DAY, collection_method="send_invoice")
    assert explained(subscription(discounts=[half]), invoices=[due])["next_change_at"] == NOW + 2 * DAY
    assert explained(subscription(item(discounts=[half])))["next_change_at"] == NOW + 3 * DAY
    theirs = [customer(discount=half)]
    assert explained(subscription(), customers=theirs)["next_change_at"] == NOW + 3 * DAY
    for settled in ({"status": "void"}, {"status": "paid"}, {"due_date": NOW}):
        assert explained(subscription(), invoices=[{**due, **settled}])["next_change_at"] is None


@pytest.mark.fault("F78")
def test_recomputing_at_the_next_change_gives_the_other_result() -> None:
    due = invoice(due_date=NOW + DAY, collection_method="send_invoice")
    before = explained(subscription(), invoices=[due])
    after = explained(subscription(), invoices=[due], now=before["next_change_at"])
    assert (before["payment_status"], after["payment_status"]) == ("none", "past_due")


def test_why_and_when_next_are_told_while_it_is_unpaid() -> None:
    found = explained(subscription(), invoices=[failing(payments=payments("requires_payment_method", DECLINED))])
    told = (found["failure_reason"], found["attempt_count"], found["next_retry_at"], found["amount_due"], found["invoice_id"])
    assert told == ("do_not_honor", 1, NOW + DAY, 10_000, "in_failing")
    assert explained(subscription(), invoices=[paid()])["failure_reason"] is None


# --- 4 plan and scope


@pytest.mark.parametrize(
    ("key", "label"),
    [
        ("growth_monthly", "Growth"),
        ("pro_API-annual", "Pro API"),
        ("growth_monthly_v2", "Growth Monthly V2"),
        ("monthly", "Monthly"),
        ("_monthly", "Monthly"),
        ("a__b--c", "A B C"),
        ("team-month", "Team"),
        ("x_Yearly", "X"),
        ("basic_annual_yearly", "Basic Annual"),
        ("---", "---"),
        ("daily_daily", "Daily Daily"),
        ("éa_week", "Éa Week"),
    ],
)
def test_a_lookup_key_is_made_readable(key: str, label: str) -> None:
    assert plan_label(key) == label


@pytest.mark.fault("F23")
def test_a_null_key_never_replaces_a_known_one() -> None:
    keyed, bare = price(lookup_key="growth_monthly"), price()
    assert explained(subscription(item(keyed)), prices=[bare])["plan"] == "growth_monthly"
    assert explained(subscription(item(keyed)), prices=[price(lookup_key="new_key")])["plan"] == "new_key"
    assert explained(subscription(item(bare)), prices=[bare], kept_lookup_keys={"price_1": "kept"})["plan"] == "kept"
    assert explained(subscription(item(bare)), kept_lookup_keys={"price_1": "kept"})["plan"] == "kept"
    newer = subscription(item(bare), subscription_id="sub_2", start_date=NOW - 400 * DAY)
    assert explained(subscription(item(keyed)), newer)["plan"] == "growth_monthly"


def test_a_kept_key_keeps_its_price_in_scope() -> None:
    scope = {"scope": {"kind": "lookup_keys", "values": ["growth"]}}
    assert explained(subscription(), settings=scope, kept_lookup_keys={"price_1": "growth"})["mrr"] == 10_000


def test_the_plan_falls_back_to_product_nickname_and_id() -> None:
    named = price(nickname="Nick", product={"id": "prod_1", "name": "Inside"})
    assert (
        explained(subscription(item(named)), products=[{"id": "prod_1", "name": "Gold_monthly"}])["plan_label"]
        == "Gold_monthly"
    )
    assert explained(subscription(item(named)))["plan"] == "Inside"
    assert explained(subscription(item(price(nickname="Nick"))))["plan"] == "Nick"
    assert explained(subscription())["plan_label"] == "price_1"


def test_the_plan_is_the_first_item_in_scope() -> None:
    parts = (item(price("price_0", product="prod_0", lookup_key="addon")), item(price(lookup_key="core"), item_id="si_2"))
    assert explained(subscription(*parts))["plan"] == "addon"
    assert explained(subscription(*parts), settings={"scope": {"kind": "products", "values": ["prod_1"]}})["plan"] == "core"


def test_the_most_recent_trial_names_the_plan_when_nothing_counts() -> None:
    def trial(number: int, start: int) -> dict:
        keyed = price(f"price_{number}", lookup_key=f"trial{number}")
        return subscription(
            item(keyed), subscription_id=f"sub_{number}", status="trialing", start_date=start, trial_end=NOW + DAY
        )

    found = explained(trial(1, NOW - 9 * DAY), trial(2, NOW - DAY))
    assert (found["plan"], found["mrr"], found["trial_ends_at"]) == ("trial2", 0, NOW + DAY)


def test_equal_mrr_goes_to_the_earlier_start_then_to_the_id() -> None:
    late = subscription(item(price("price_2", lookup_key="late")), subscription_id="sub_0", start_date=NOW - DAY)
    early = subscription(item(price(lookup_key="early")), subscription_id="sub_9", start_date=NOW - 9 * DAY)
    assert explained(late, early)["plan"] == "early"
    assert explained(late, {**early, "start_date": NOW - DAY})["plan"] == "late"


def test_billing_started_with_the_earliest_subscription_in_scope_ended_ones_included() -> None:
    ended = subscription(subscription_id="sub_0", status="canceled", start_date=NOW - 900 * DAY)
    other = subscription(item(price("price_2", product="prod_2")), subscription_id="sub_9", start_date=NOW - 999 * DAY)
    assert explained(subscription(), ended)["billing_started_at"] == NOW - 900 * DAY
    scope = {"scope": {"kind": "products", "values": ["prod_1"]}}
    assert explained(subscription(), ended, other, settings=scope)["billing_started_at"] == NOW - 900 * DAY


@pytest.mark.parametrize(
    ("label", "mrr", "status", "line"),
    [
        ("Growth", 140_000, "failing", "Plan: Growth, MRR $1,400, payment failing"),
        (None, 0, "none", "No plan, MRR $0, no invoices"),
        ("X", 123_456_789, "past_due", "Plan: X, MRR $1,234,567.89, payment past due"),
        ("X", None, "paid", "Plan: X, MRR unknown, paid"),
        ("X", 5, "paid", "Plan: X, MRR $0.05, paid"),
        ("X", -150, "paid", "Plan: X, MRR -$1.50, paid"),
    ],
)
def test_the_headline(label: str | None, mrr: int | None, status: str, line: str) -> None:
    assert headline(label, mrr, status) == line  # type: ignore[arg-type]
