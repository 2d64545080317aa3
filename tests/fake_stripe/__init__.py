"""A faithful stand-in for Stripe (STRIPE 10): the API that the workers read, the webhooks that the endpoint receives.

with FakeStripe(seed=1) as fake:
    fake.deliver_to(url)                                   # signed, retried
    customer = fake.change.create_customer("ann@acme.com")
    fake.change.subscribe(customer, price)
    fake.url, fake.api_key, fake.webhook_secret, fake.reads.total, fake.faults, fake.current_objects()
"""

from tests.fake_stripe.clock import Clock
from tests.fake_stripe.delivery import Deliveries
from tests.fake_stripe.disturb import Disturb
from tests.fake_stripe.faults import Limits
from tests.fake_stripe.server import FakeStripe

__all__ = ["Clock", "Deliveries", "Disturb", "FakeStripe", "Limits"]
