"""RULES 5: what counts, one item, the month, discounts, currencies. Figures worked out by hand."""

import pytest

from tests.unit.explained import explained
from tests.unit.stripe_json import DAY, NOW, coupon, customer, discount, item, price, subscription

EXPIRED, RUNNING = {"end": NOW}, {"end": NOW + DAY}
FOREVER_HALF = coupon("HALF", percent_off=50)


@pytest.mark.parametrize("status", ["trialing", "incomplete", "incomplete_expired", "unpaid", "canceled", "paused"])
def test_a_status_that_does_not_count_brings_nothing_and_no_flag(status: str) -> None:
    found = explained(subscription(status=status, cancel_at_period_end=True, pause_collection={"behavior": "void"}))
    assert (found["mrr"], found["flags"]) == (0, [])


@pytest.mark.fault("F22")
def test_an_unknown_status_is_flagged_and_the_others_still_count() -> None:
    found = explained(subscription(), subscription(subscription_id="sub_2", status="dreaming"))
    assert (found["mrr"], found["flags"]) == (10_000, ["unknown_subscription_status:dreaming"])


def test_a_cancellation_ahead_counts_until_it_ends_and_shows_its_date() -> None:
    found = explained(subscription(cancel_at=NOW + DAY))
    assert (found["mrr"], found["flags"], found["cancels_at"]) == (10_000, ["cancelling"], NOW + DAY)


def test_count_cancelling_false_drops_it_at_once_and_keeps_the_flag() -> None:
    found = explained(subscription(cancel_at_period_end=True), settings={"count_cancelling": False})
    assert (found["mrr"], found["plan"], found["flags"]) == (0, None, ["cancelling"])


def test_a_dropped_cancelling_subscription_cannot_make_the_mrr_unknown() -> None:
    broken = price(billing_scheme="tiered", tiers_mode="volume")
    found = explained(subscription(item(broken), cancel_at_period_end=True), settings={"count_cancelling": False})
    assert (found["mrr"], found["flags"]) == (0, ["cancelling"])


@pytest.mark.fault("F29")
@pytest.mark.parametrize(
    ("of", "quantity", "mrr"),
    [
        (price(amount=None), 0, 0),
        (price(billing_scheme="tiered", tiers_mode="volume"), 0, 0),
        (price(type="one_time", recurring=None), 7, 0),
        (price(usage="metered", amount=None), None, 0),
        (price(amount="0.5"), 3, 2),  # 1.5 rounds half to even
        (price(amount="0.5"), 5, 2),  # 2.5 too
        (price(amount=999_999_999_999), 9, 8_999_999_999_991),
        (price(transform_quantity={"divide_by": 10, "round": "down"}, amount=500), 25, 1000),
        (price(transform_quantity={"divide_by": 10, "round": "up"}, amount=500), 21, 1500),
        (price(), None, 10_000),
    ],
)
def test_one_item_is_priced_by_its_amount_and_quantity(of: dict, quantity: int | None, mrr: int) -> None:
    assert explained(subscription(item(of, quantity)))["mrr"] == mrr


@pytest.mark.fault("F29")
@pytest.mark.parametrize(
    ("of", "reason"),
    [
        (price(amount=None), "missing_amount"),
        (price(amount=None, billing_scheme="tiered", tiers_mode="graduated"), "missing_tiers"),
        (
            price(amount=None, billing_scheme="tiered", tiers_mode="volume", tiers=[{"up_to": 3, "unit_amount": 5}]),
            "missing_tiers",
        ),
        (price(billing_scheme="auction"), "unknown_scheme"),
        (price(transform_quantity={"divide_by": 0, "round": "up"}), "unknown_scheme"),
        (price(transform_quantity={"divide_by": 10, "round": "sideways"}), "unknown_scheme"),
        (price(currency="eur"), "missing_currency_option"),
    ],
)
@pytest.mark.fault("I9")
def test_a_price_that_cannot_be_priced_makes_the_mrr_unknown_never_0(of: dict, reason: str) -> None:
    found = explained(subscription(item(of, 8)), subscription(subscription_id="sub_2"))
    assert (found["mrr"], found["flags"]) == (None, [f"mrr_unknown:{reason}"])
    assert found["headline"].split(", ")[1] == "MRR unknown"


@pytest.mark.fault("F30")
@pytest.mark.parametrize(
    ("interval", "count", "mrr"),
    [("month", 5, 2400), ("year", 5, 200), ("week", 2, 26_000), ("day", 10, 36_500), ("month", None, 12_000)],
)
def test_an_interval_is_normalised_exactly(interval: str, count: int | None, mrr: int) -> None:
    assert explained(subscription(item(price(amount=12_000, interval=interval, count=count))))["mrr"] == mrr


@pytest.mark.fault("F30")
@pytest.mark.parametrize(("interval", "count"), [("month", 0), ("month", -1), ("fortnight", 1), (None, 1)])
def test_an_interval_that_makes_no_sense_makes_the_mrr_unknown(interval: str | None, count: int) -> None:
    assert explained(subscription(item(price(interval=interval, count=count))))["flags"] == ["mrr_unknown:unknown_scheme"]


TIERS = [
    {"up_to": 5, "unit_amount": 1000, "flat_amount": 300},
    {"up_to": 10, "unit_amount": None, "unit_amount_decimal": "80.5", "flat_amount": None},
    {"up_to": None, "unit_amount": None, "flat_amount": 50_000},
]


@pytest.mark.parametrize(
    ("mode", "quantity", "mrr"),
    [
        ("volume", 5, 5300),
        ("volume", 10, 805),
        ("volume", 11, 50_000),
        ("graduated", 5, 5300),
        ("graduated", 6, 5380),  # 5300 + 80.5 = 5380.5, half to even
        ("graduated", 12, 55_702),  # 5300 + 402.5 + 50000 = 55702.5
    ],
)
def test_tiers_are_the_one_that_holds_the_quantity_or_every_one_entered(mode: str, quantity: int, mrr: int) -> None:
    tiered = price(amount=None, billing_scheme="tiered", tiers_mode=mode)
    full = {**tiered, "tiers": list(reversed(TIERS))}
    assert explained(subscription(item(tiered, quantity)), prices=[full])["mrr"] == mrr


def test_tiers_inside_an_old_plan_are_used() -> None:
    plan = {
        "id": "gold", "object": "plan", "amount": None, "billing_scheme": "tiered", "tiers_mode": "volume", "currency": "usd",
        "interval": "month", "interval_count": 1, "tiers": [{"up_to": None, "unit_amount": 700}],
    }  # fmt: skip
    old = {"id": "si_1", "object": "subscription_item", "plan": plan, "quantity": 3}
    assert explained(subscription(old))["mrr"] == 2100


def test_a_price_known_by_id_alone_is_unknown_until_the_mirror_has_it() -> None:
    bare = {"id": "si_1", "price": "price_1", "quantity": 2}
    assert explained(subscription(bare))["flags"] == ["mrr_unknown:missing_amount"]
    assert explained(subscription(bare), prices=[price()])["mrr"] == 20_000


def test_tiers_of_a_currency_option_are_used_for_its_currency() -> None:
    tiered = price(amount=None, billing_scheme="tiered", tiers_mode="volume", tiers=[{"up_to": None, "unit_amount": 9}])
    full = {**tiered, "currency_options": {"eur": {"tiers": [{"up_to": None, "unit_amount": 1000}]}}}
    assert explained(subscription(item(tiered, 2), currency="eur"), prices=[full])["mrr"] == 2200  # 2000 x 1.10


# --- 5.4 discounts


def test_the_two_parts_of_an_amount_off_follow_their_items_intervals() -> None:
    """13000 off 10000 a month and 120000 a year takes 1000 and 12000: 9000 + 108000 / 12."""
    yearly = item(price("price_y", 120_000, interval="year"), item_id="si_2")
    off = discount(coupon("OFF", amount_off=13_000, currency="usd"))
    assert explained(subscription(item(), yearly, discounts=[off]))["mrr"] == 18_000


def test_an_item_out_of_scope_bears_its_share_of_an_amount_off() -> None:
    other = item(price("price_2", 30_000, product="prod_2"), item_id="si_2")
    off = discount(coupon("OFF", amount_off=4000, currency="usd"))
    scope = {"scope": {"kind": "products", "values": ["prod_1"]}}
    assert explained(subscription(item(), other, discounts=[off]), settings=scope)["mrr"] == 9000


def test_an_unpriced_item_out_of_scope_matters_only_to_an_amount_off_it_shares() -> None:
    other = item(price("price_2", None, product="prod_2"), item_id="si_2")
    scope = {"scope": {"kind": "products", "values": ["prod_1"]}}
    off, half = coupon("OFF", amount_off=4000, currency="usd"), FOREVER_HALF
    assert explained(subscription(item(), other, discounts=[discount(half)]), settings=scope)["mrr"] == 5000
    spread = explained(subscription(item(), other, discounts=[discount(off)]), settings=scope)
    assert spread["flags"] == ["mrr_unknown:missing_amount"]
    limited = {**off, "applies_to": {"products": ["prod_1"]}}
    assert explained(subscription(item(), other, discounts=[discount(off)]), settings=scope, coupons=[limited])["mrr"] == 6000


def test_item_discounts_come_first_then_the_subscriptions_in_order() -> None:
    """(10000 - 1000) x 0.5 - 500; the other way round would differ."""
    off = discount(coupon("OFF", amount_off=1000, currency="usd"), "di_1")
    later = [discount(FOREVER_HALF, "di_2"), discount(coupon("FIX", amount_off=500, currency="usd"), "di_3")]
    assert explained(subscription(item(discounts=[off]), discounts=later))["mrr"] == 4000


def test_applies_to_limits_a_discount_and_comes_from_the_mirrored_coupon() -> None:
    other = item(price("price_2", 2000, product="prod_2"), item_id="si_2")
    limited = {**FOREVER_HALF, "applies_to": {"products": ["prod_2"]}}
    found = explained(subscription(item(), other, discounts=[discount(FOREVER_HALF)]), coupons=[limited])
    assert found["mrr"] == 11_000


def test_a_discount_on_the_subscription_of_any_duration_displaces_the_customers() -> None:
    own = discount(coupon("ONCE", percent_off=90, duration="once"), "di_own")
    theirs = [customer(discount=discount(FOREVER_HALF, "di_theirs"))]
    assert explained(subscription(discounts=[own]), customers=theirs)["mrr"] == 10_000
    assert explained(subscription(discounts=[{**own, **EXPIRED}]), customers=theirs)["mrr"] == 5000
    assert explained(subscription(item(discounts=[own])), customers=theirs)["mrr"] == 5000


def test_an_expired_discount_is_ignored_and_ends_at_the_very_second() -> None:
    assert explained(subscription(discounts=[discount(FOREVER_HALF, **EXPIRED)]))["mrr"] == 10_000
    running = explained(subscription(discounts=[discount(FOREVER_HALF, **RUNNING)]))
    assert (running["mrr"], running["next_change_at"]) == (5000, NOW + DAY)


def test_two_customers_discounts_apply_to_each_subscription() -> None:
    theirs = [customer(discount=discount(coupon("OFF", amount_off=1000, currency="usd")))]
    assert explained(subscription(), subscription(subscription_id="sub_2"), customers=theirs)["mrr"] == 18_000


@pytest.mark.parametrize(
    ("discounts", "reason"),
    [(["di_bare"], "missing_discount"), ([discount("GONE")], "missing_coupon"), ([discount(coupon("NIL"))], "missing_coupon")],
)
def test_a_discount_that_cannot_be_read_makes_the_mrr_unknown(discounts: list, reason: str) -> None:
    found = explained(subscription(discounts=discounts))
    assert (found["mrr"], found["flags"]) == (None, [f"mrr_unknown:{reason}"])


def test_an_unreadable_discount_of_an_ended_subscription_does_not_matter() -> None:
    assert explained(subscription(discounts=["di_bare"], status="canceled"))["mrr"] == 0


def test_an_amount_off_in_another_currency_uses_its_currency_option() -> None:
    off = coupon("OFF", amount_off=1000, currency="usd")
    eur = subscription(item(price(currency="eur")), currency="eur", discounts=[discount(off)])
    assert explained(eur)["flags"] == ["mrr_unknown:missing_currency_option"]
    full = {**off, "currency_options": {"eur": {"amount_off": 2000}}}
    assert explained(eur, coupons=[full])["mrr"] == 8800  # 8000 x 1.10


def test_a_coupon_made_again_under_the_same_id_leaves_running_discounts_alone() -> None:
    again = coupon("HALF", percent_off=10, applies_to={"products": ["prod_9"]})
    assert explained(subscription(discounts=[discount(FOREVER_HALF)]), coupons=[again])["mrr"] == 5000


@pytest.mark.fault("F22")
def test_a_duration_we_do_not_know_does_not_subtract() -> None:
    odd = discount(coupon("ODD", percent_off=50, duration="fortnightly"))
    settings = {"subtract_once_discounts": True, "subtract_repeating_discounts": True}
    assert explained(subscription(discounts=[odd]), settings=settings)["mrr"] == 10_000


@pytest.mark.parametrize(("percent", "mrr"), [(100, 0), (250, 0), (-20, 10_000), (33.3, 6670)])
def test_a_percentage_never_raises_and_never_goes_below_0(percent: float, mrr: int) -> None:
    assert explained(subscription(discounts=[discount(coupon("P", percent_off=percent))]))["mrr"] == mrr


# --- 5.5 currencies


@pytest.mark.fault("F27")
@pytest.mark.parametrize(
    ("currency", "amount", "mrr"),
    [
        ("jpy", 1000, 1_000_00),
        ("mga", 1000, 1_000_00),
        ("isk", 1000, 1000),
        ("ugx", 1000, 1000),
        ("kwd", 5120, 512),
        ("huf", 100, 100),
    ],
)
def test_minor_units_are_stripes_own(currency: str, amount: int, mrr: int) -> None:
    """At a rate of 1 the figure shows the divisor alone."""
    fx = {"date": "2026-11-01", "usd_per": {currency.upper(): 1}}
    assert explained(subscription(item(price(amount=amount, currency=currency)), currency=currency), fx=fx)["mrr"] == mrr


@pytest.mark.fault("F28")
def test_without_a_rate_the_amount_is_left_out_and_said_so() -> None:
    kwd = subscription(item(price(currency="kwd")), subscription_id="sub_2", currency="kwd")
    found = explained(subscription(), kwd)
    assert (found["mrr"], found["flags"]) == (10_000, ["no_usd_rate:KWD"])
    assert {entry["currency"]: entry["usd_cents"] for entry in found["native"]} == {"kwd": None, "usd": "10000"}


@pytest.mark.fault("F28")
def test_rates_go_stale_on_the_46th_day_and_the_clock_knows() -> None:
    """2026-11-18 is the day of NOW: a table of 2026-10-04 is 45 days old, and stale on the 19th."""
    eur = subscription(item(price(currency="eur")), currency="eur")
    fresh = explained(eur, fx={"date": "2026-10-04", "usd_per": {"EUR": "1.10"}})
    assert (fresh["mrr"], fresh["flags"], fresh["next_change_at"]) == (11_000, [], 1_795_046_400)
    stale = explained(eur, fx={"date": "2026-10-03", "usd_per": {"EUR": "1.10"}})
    assert (stale["mrr"], stale["flags"], stale["next_change_at"]) == (11_000, ["stale_fx"], None)
    assert explained(subscription(), fx={"date": "2020-01-01", "usd_per": {"EUR": "1.10"}})["flags"] == []


def test_the_sum_is_rounded_once_not_each_subscription() -> None:
    """Three times 2.5 cents are 7.5, half to even 8; rounded apart they would be 6."""
    third = price(amount=30, interval="year")
    parts = [subscription(item(third), subscription_id=f"sub_{number}") for number in range(3)]
    assert explained(*parts)["mrr"] == 8


def test_an_inclusive_price_is_taken_as_it_stands_and_flagged() -> None:
    inclusive = explained(subscription(item(price(tax_behavior="inclusive"))))
    assert (inclusive["mrr"], inclusive["flags"]) == (10_000, ["tax_inclusive"])


def test_items_out_of_scope_give_no_flags() -> None:
    others = item(price("price_2", product="prod_2", tax_behavior="inclusive", usage="metered"), item_id="si_2")
    found = explained(subscription(item(), others), settings={"scope": {"kind": "products", "values": ["prod_1"]}})
    assert (found["mrr"], found["flags"]) == (10_000, [])


@pytest.mark.fault("F24")
def test_a_truncated_list_of_items_makes_the_mrr_unknown() -> None:
    cut = subscription()
    cut["items"]["has_more"] = True
    assert explained(cut)["mrr"] is None


def test_the_derivation_names_every_step() -> None:
    """5.6: 8 x 2500 a year, 25 % off, in EUR at 1.10: 15000 / 12 = 1250, x 1.10."""
    yearly = item(price(amount=2500, currency="eur", interval="year"), 8)
    found = explained(subscription(yearly, currency="eur", discounts=[discount(coupon("Q", percent_off=25))]))
    step = found["derivation"][0]
    assert (step["native_monthly"], step["rate"], step["usd_cents"]) == ("1250", "1.10", "1375")
    part = step["items"][0]
    assert (part["amount"], part["monthly_factor"], part["after_discounts"]) == ("20000", "1/12", "15000")
    assert (step["discounts"][0]["outcome"], step["discounts"][0]["taken"]) == ("subtracted", "5000")
    left = explained(subscription(status="canceled"))["derivation"][0]
    assert (left["counts"], left["left_out"]) == (False, "status_canceled")
