"""Event types, failpoints, the throttle, the breaker, log lines, and the names of jobs."""

import importlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.store.failpoints import parse_failpoints
from models.store.logs import log, set_up_logs
from models.stripe_reader.event_types import HANDLED_TYPES, affects
from webhook_app.throttle import MAX_ADDRESSES, Throttle
from workers.queue import JOB_NAMES, Breaker

RECOMMENDED = [
    "customer.created",
    "customer.updated",
    "customer.deleted",
    "customer.discount.created",
    "customer.discount.updated",
    "customer.discount.deleted",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "customer.subscription.pending_update_applied",
    "customer.subscription.pending_update_expired",
    "invoice.finalized",
    "invoice.paid",
    "invoice.payment_failed",
    "invoice.payment_action_required",
    "invoice.payment_attempt_required",
    "invoice.updated",
    "invoice.voided",
    "invoice.marked_uncollectible",
    "invoice.overdue",
    "invoice.finalization_failed",
    "invoice.deleted",
    "invoice_payment.paid",
    "price.updated",
    "product.updated",
    "account.application.deauthorized",
]


def test_every_type_we_ask_stripe_for_affects_something() -> None:
    assert set(RECOMMENDED) <= HANDLED_TYPES


@pytest.mark.fault("F21")
@pytest.mark.parametrize(
    "event_type",
    [
        "charge.succeeded",
        "invoice.upcoming",
        "payment_intent.created",
        "plan.updated",
        "made.up",
        "",
        "customer",
        "invoice.sent",
        "v1.charge.succeeded",
        "v2.core.account.updated",
        "v1.",
        "v1.customer",
    ],
)
def test_other_types_affect_nothing(event_type: str) -> None:
    assert not affects(event_type)


@pytest.mark.fault("F25")
@pytest.mark.parametrize("event_type", ["v1.customer.updated", "v1.subscription.item_added", "v1.price.lookup_key_changed"])
def test_thin_types_affect_what_their_family_affects(event_type: str) -> None:
    assert affects(event_type)


@given(st.text(max_size=40))
def test_no_text_is_too_odd_to_be_a_type(event_type: str) -> None:
    assert affects(event_type) in (True, False)


def test_failpoints_are_read_as_documented() -> None:
    assert parse_failpoints("a=exit, b=raise@3,c=sleep:1.5@2,d") == {
        "a": ("exit", None),
        "b": ("raise", 3),
        "c": ("sleep:1.5", 2),
        "d": ("exit", None),
    }
    assert parse_failpoints("") == {}


@pytest.mark.fault("S11")
def test_failures_are_counted_per_address_and_minute_and_memory_is_bounded() -> None:
    now = [0.0]
    throttle = Throttle(window_s=60, clock=lambda: now[0])
    assert [throttle.failed("a") for _ in range(3)] == [1, 2, 3]
    assert throttle.failed("b") == 1
    now[0] = 60.0
    assert throttle.failed("a") == 1
    for n in range(MAX_ADDRESSES + 50):
        throttle.failed(f"address {n}")
    assert len(throttle._seen) == MAX_ADDRESSES


@pytest.mark.fault("F52")
def test_the_breaker_opens_after_three_failures_and_lets_one_try_when_its_pause_is_over() -> None:
    breaker = Breaker(failures=3, open_s=0.0)
    for _ in range(3):
        assert breaker.allows()
        breaker.report(ok=False)
    assert breaker.allows(), "the pause of 0 s is over"
    breaker = Breaker(failures=3, open_s=60)
    for _ in range(3):
        assert breaker.allows()
        breaker.report(ok=False)
    assert not breaker.allows()
    breaker._closed_at = 0.0
    assert breaker.allows()
    assert not breaker.allows(), "one tries, the others go on skipping"
    breaker.report(ok=True)
    assert breaker.allows()


def test_every_job_that_is_enqueued_by_name_exists() -> None:
    for name in JOB_NAMES:
        module, _, function = name.rpartition(".")
        assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.fault("S24")
@given(hostile=st.text(alphabet=st.sampled_from("a\r\n\x1b[31m\x00\u2028é\u202e"), max_size=40))
def test_a_log_line_is_one_line_whatever_it_holds(hostile: str) -> None:
    import contextlib
    import io

    written = io.StringIO()
    with contextlib.redirect_stderr(written):
        set_up_logs()
        log.warning("refused", reason=hostile, long="x" * 2000)
    line = written.getvalue()
    assert line.count("\n") == 1
    assert line.isascii()
    assert "\x1b" not in line
    found = json.loads(line)
    assert found["reason"] == hostile
    assert len(found["long"]) < 600
