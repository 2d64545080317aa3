"""`python -m tests.fake_stripe`: the fake Stripe as a process of its own, for benchmarks and for trying things by hand."""

import argparse
import json
import signal
import sys
import threading

from tests.fake_stripe.faults import Limits
from tests.fake_stripe.generate import Shape, generate
from tests.fake_stripe.life import Life
from tests.fake_stripe.names import company
from tests.fake_stripe.server import FakeStripe
from tests.fake_stripe.vast import large
from tests.fake_stripe.versions import PINNED


def read_options() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.fake_stripe", description=__doc__)
    parser.add_argument("--port", type=int, default=12111)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mode", choices=("live", "test"), default="live")
    parser.add_argument(
        "--objects", type=int, default=0, help="about so many customers, subscriptions and invoices; 0: a small mix"
    )
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that every answer takes longer")
    parser.add_argument("--limits", action="store_true", help="Stripe's own rate limits, with 429")
    parser.add_argument("--deliver-to", help="URL of a webhook endpoint")
    parser.add_argument("--webhook-secret", help="signing secret; else one is made up")
    parser.add_argument("--version", default=PINNED, help="the endpoint's API version")
    parser.add_argument("--rate", type=float, default=0.0, help="changes a second (with --deliver-to)")
    parser.add_argument("--fault", action="append", default=[], type=json.loads, metavar="JSON",
                        help='a fault to order: {"kind": "status", "rate": 0.05, "count": null}')  # fmt: skip
    parser.add_argument("--stale", type=float, default=0.0, help="the chance of a stale read")
    parser.add_argument("--disturb", type=json.loads, default={}, metavar="JSON",
                        help='chances of what becomes of deliveries: {"duplicate": 0.1, "drop": 0.01}')  # fmt: skip
    return parser.parse_args()


def disturb(fake: FakeStripe, options: argparse.Namespace) -> None:
    """Order what shall go wrong."""
    fake.faults.stale_rate = options.stale
    for order in options.fault:
        fake.faults.order(**order)
    for deliveries in fake.deliveries:
        for name, chance in options.disturb.items():
            setattr(deliveries.disturb, name, chance)


def main() -> int:
    """Serve until a signal comes; the first line printed is JSON with `url`, `api_key` and `webhook_secret`."""
    options = read_options()
    limits = (Limits.live() if options.mode == "live" else Limits.sandbox()) if options.limits else None
    fake = FakeStripe(seed=options.seed, livemode=options.mode == "live", limits=limits, port=options.port)
    if options.webhook_secret:
        fake.webhook_secret = options.webhook_secret
    many = options.objects > 0
    generator = (
        large(fake.state, options.objects, seed=options.seed) if many else generate(fake.state, Shape(), seed=options.seed)
    )
    fake.start()
    fake.server.latency = options.latency
    if options.deliver_to:
        fake.deliver_to(options.deliver_to, version=options.version)
    disturb(fake, options)
    print(
        json.dumps(
            {"url": fake.url, "api_key": fake.api_key, "webhook_secret": fake.webhook_secret, "objects": fake.state.counts()}
        ),
        flush=True,
    )
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    if options.rate:
        rng, known = generator.rng, len(generator.companies)
        life = Life(fake, generator, [company(known + 2000 + n, rng) for n in range(200)], seed=options.seed)
        while not ended.wait(1 / options.rate):
            print(life.tick(), flush=True)
    ended.wait()
    fake.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
