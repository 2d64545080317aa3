"""The plan of a full sync: however readers interleave, windows are cut and processes are killed, nothing is missed."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers import walks
from workers.lists import ALWAYS, walks_of
from workers.stripe_http import endpoint_of, object_path
from workers.stripe_objects import Cursor, less_expanded
from workers.walks import Plan, Step

START = 1_790_000_000
PAGE = 5


def page_of(objects, window, params):
    """What a list of Stripe's shows: newest first, filtered by `created`, behind the cursor."""
    created = window.params(params).get("created", {})
    rows = [row for row in objects if created.get("gte", 0) <= row["created"] < created.get("lt", 2**60)]
    if window.at is not None:
        ids = [row["id"] for row in rows]
        if window.at.after in ids:
            rows = rows[ids.index(window.at.after) + 1 :]
        else:  # the cursor lies above a window that was cut meanwhile
            rows = [row for row in rows if row["created"] <= window.at.created]
    page = rows[:PAGE]
    more = len(rows) > PAGE
    return page, Cursor(page[-1]["id"], page[-1]["created"]) if page and more else None


def walk_all(objects, rng, *, kills):
    """Several readers and one writer in a random order; sometimes everything but the committed state is lost."""
    plan = Plan(START, START - 400 * 86400, ("customers",))
    seen, queue, busy = set(), [], []
    for turn in range(100_000):
        if plan.done:
            return seen, turn
        choice = rng.random()
        if choice < 0.35 and len(busy) < 8:
            found = plan.take(0)
            if found is not None:
                busy.append(found)
        elif choice < 0.7 and busy:
            walk, window = busy.pop(rng.randrange(len(busy)))
            rows, following = page_of(objects, window, walk.params)
            goes_on = plan.advance(window, rows, following)
            queue.append((Step(walk, window, len(rows), following, not goes_on), rows))
            if goes_on:
                busy.append((walk, window))
        elif queue:
            step, rows = queue.pop(0)
            saved = plan.to_json([step])
            seen |= {row["id"] for row in rows}
            plan.commit(step)
            assert plan.to_json() == saved, "what is saved with a page is what holds after it"
            if rng.random() < kills:
                plan, queue, busy = Plan.from_json(START, plan.oldest, plan.to_json()), [], []
    raise AssertionError("it never ends")


@pytest.mark.fault("F74")
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(0, 120),
    seconds=st.sampled_from([1, 3, 1000, 400 * 86400]),
    kills=st.sampled_from([0.0, 0.2]),
)
def test_every_object_is_seen_whatever_happens(seed, count, seconds, kills):
    rng = random.Random(seed)
    made = sorted((rng.randrange(seconds) for _ in range(count)), reverse=True)
    objects = [{"id": f"cus_{number}", "created": START - seconds + at} for number, at in enumerate(made)]
    before, walks.WORTH_CUTTING = walks.WORTH_CUTTING, 4
    try:
        seen, _steps = walk_all(objects, rng, kills=kills)
    finally:
        walks.WORTH_CUTTING = before
    assert seen == {row["id"] for row in objects}


def test_lists_wait_for_those_they_lean_on():
    plan = Plan(START)
    taken = []
    while (found := plan.take(0)) is not None:
        taken.append(found[0].name)
    assert taken == ["open_payments", "prices_active", "prices_inactive", "products", "coupons"]
    for progress in [plan.progress[name] for name in ("coupons", "open_payments")]:
        plan.commit(Step(progress.walk, progress.windows[0], 0, None, True))
    assert {plan.take(0)[0].name for _ in range(4)} == {
        "customers", "invoices_open", "invoices_uncollectible", "invoices_recent",
    }  # fmt: skip
    assert plan.take(0) is None
    for name in ("prices_active", "prices_inactive", "products"):
        plan.deny(plan.progress[name].walk, "no")
    assert plan.take(0)[0].name == "subscriptions"


def test_a_list_that_may_not_be_read_does_not_hold_the_run_up():
    plan = Plan(START, names=("coupons",))
    plan.deny(plan.progress["coupons"].walk, "rak_coupon_read is missing")
    assert plan.done
    assert plan.denied("coupons")
    assert Plan.from_json(START, None, plan.to_json()).denied("coupons")


@pytest.mark.fault("F74")
def test_what_is_only_in_memory_is_read_again_only_while_somebody_needs_it():
    plan = Plan(START)
    saved = plan.to_json()
    assert "open_payments" not in saved
    assert not Plan.from_json(START, None, saved).progress["open_payments"].done
    for name in saved:
        saved[name]["windows"] = []
    assert Plan.from_json(START, None, saved).done


@pytest.mark.fault("F74")
def test_the_whole_of_an_account_is_listed_in_all_statuses():
    found = walks_of(START)
    assert found["subscriptions"].params["status"] == "all"
    assert {found[name].params["active"] for name in ("prices_active", "prices_inactive")} == {True, False}
    assert found["invoices_recent"].params["created"] == {"gte": START - 35 * 86400}
    assert {found[name].params["status"] for name in ("invoices_open", "invoices_uncollectible")} == {"open", "uncollectible"}
    assert all(path.count(".") <= 3 for walk in found.values() for path in walk.params.get("expand", ()))
    assert set(ALWAYS) == set(found) - {"invoices_older"}


def test_the_estimate_grows_into_the_truth():
    plan = Plan(START, START - 1000, ("customers",))
    assert plan.expected() is None
    walk, window = plan.take(0)
    rows = [{"id": f"c{n}", "created": START - n} for n in range(100)]
    plan.advance(window, rows, Cursor("c99", START - 99))
    plan.commit(Step(walk, window, 100, Cursor("c99", START - 99), False))
    assert plan.expected() == pytest.approx(1000, rel=0.05)
    plan.commit(Step(walk, window, 0, None, True))
    assert plan.expected() == 100


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/v1/subscriptions", "/v1/subscriptions"),
        ("/v1/subscriptions/sub_1", "/v1/subscriptions/{id}"),
        ("/v1/invoices/in_1/lines", "/v1/invoices/{id}/lines"),
        (object_path("coupons", "50% off"), "/v1/coupons/{id}"),
    ],
)
def test_endpoints_are_named_as_stripe_rations_them(path, endpoint):
    assert endpoint_of(path) == endpoint


def test_what_is_left_of_an_expansion_without_its_permission():
    paths = ["discounts.source.coupon", "items.data.discounts", "items.data.price.tiers"]
    paths.append("payments.data.payment.payment_intent")
    assert less_expanded(paths, "rak_coupon_read") == {paths[0]: "discounts"}
    assert less_expanded(paths, "rak_plan_read") == {paths[2]: None}
    assert less_expanded(paths, "rak_payment_intent_read") == {paths[3]: "payments"}
    assert less_expanded(paths, "rak_event_read") == {}
    assert set(less_expanded(paths, None)) == set(paths)
