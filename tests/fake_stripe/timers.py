"""What Stripe does by itself as time passes (STRIPE 3.3, 7.1 and 8): run when a test or a life says so."""

from typing import TYPE_CHECKING

from tests.fake_stripe.records import Invoice, Subscription

if TYPE_CHECKING:
    from tests.fake_stripe.server import FakeStripe

HOUR = 3600


def run(fake: "FakeStripe") -> int:
    """Everything that is due by the clock; how many things happened."""
    with fake.state.lock:
        return finalize_drafts(fake) + _subscriptions(fake) + _overdue(fake)


def finalize_drafts(fake: "FakeStripe") -> int:
    """An hour after a draft was made; where endpoints ask for `invoice.created`, an hour after all of them have answered it
    well, at the latest 72 hours after it was made."""
    done = 0
    for invoice in list(fake.state.of("invoice").loose()):
        if invoice.status == "draft" and invoice.auto_advance and fake.clock.time() >= _finalized_from(fake, invoice):
            fake.change.collect_draft(invoice)
            done += 1
    return done


def _finalized_from(fake: "FakeStripe", invoice: Invoice) -> float:
    asking = [d for d in fake.deliveries if not d.endpoint.off and _asks(d.endpoint.types)]
    if not asking:
        return invoice.created + HOUR
    told = [e.id for e in fake.state.of("event") if e.type == "invoice.created" and e.object_id == invoice.id]
    answered = [next((d.acked[i] for i in told if i in d.acked), None) for d in asking]
    latest = invoice.created + 72 * HOUR
    return latest if None in answered else min(latest, max(answered) + HOUR)


def _asks(types: frozenset[str] | None) -> bool:
    return types is None or "invoice.created" in types


def _subscriptions(fake: "FakeStripe") -> int:
    done = 0
    for subscription in list(fake.state.of("subscription").loose()):
        done += _subscription(fake, subscription, fake.clock.now())
    return done


def _subscription(fake: "FakeStripe", s: Subscription, now: int) -> bool:
    if s.status == "incomplete" and now >= s.created + 23 * HOUR:
        fake.change.expire(s)
    elif s.cancel_at is not None and s.status not in {"canceled", "incomplete_expired"} and now >= s.cancel_at:
        fake.change.end_period(s)
    elif s.status == "trialing" and s.trial_end is not None and now >= s.trial_end:
        fake.change.end_trial(s)
    elif s.pending_update is not None and now >= s.pending_update["expires_at"]:
        fake.change.drop_update(s)
    else:
        return False
    return True


def _overdue(fake: "FakeStripe") -> int:
    """`invoice.overdue`, once for each."""
    done = 0
    for invoice in list(fake.state.of("invoice").loose()):
        late = invoice.due_date is not None and fake.clock.now() > invoice.due_date
        if invoice.status == "open" and late and not invoice.told_overdue:
            fake.change.overdue(invoice)
            done += 1
    return done
