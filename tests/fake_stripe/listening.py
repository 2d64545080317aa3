"""What the tests of the fake's deliveries share: an endpoint in this process."""

import json
import threading

import stripe

from tests.fake_stripe import Deliveries, FakeStripe

START = 1_790_000_000
DAY = 86_400
Got = list[tuple[dict, dict[str, str]]]


def listen(fake: FakeStripe, answers: list[int] | None = None, **how: object) -> tuple[Deliveries, Got]:
    """An endpoint in this process: what it gets; `answers` first, then 200."""
    got: Got = []
    lock = threading.Lock()

    def send(body: bytes, headers: dict[str, str]) -> int:
        with lock:
            got.append((json.loads(body), headers))
            return answers.pop(0) if answers else 200

    return fake.deliver_to(send, auto=False, **how), got


def emails(got: Got) -> list[str]:
    return [body["data"]["object"]["email"][0] for body, _ in got]


def customers(fake: FakeStripe, letters: str) -> None:
    for letter in letters:
        fake.change.create_customer(f"{letter}@acme.com")


def passes(fake: FakeStripe, body: dict, headers: dict[str, str]) -> bool:
    try:
        return bool(
            stripe.WebhookSignature.verify_header(json.dumps(body, indent=2), headers["Stripe-Signature"], fake.webhook_secret)
        )
    except stripe.SignatureVerificationError:
        return False
