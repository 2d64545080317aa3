"""The fake as a process of its own, its clock, and that everything in it is the same for a seed."""

import http.server
import json
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import ClassVar

import pytest
import stripe
import time_machine

from tests.fake_stripe import Clock, FakeStripe
from tests.fake_stripe.generate import Shape, generate
from tests.fake_stripe.life import Life
from tests.fake_stripe.measure import measure
from tests.fake_stripe.names import company

START = 1_790_000_000
SECRET = "whsec_of_this_test"
pytestmark = pytest.mark.timeout(60)


class Endpoint(http.server.BaseHTTPRequestHandler):
    """Checks what it gets and counts it."""

    ids: ClassVar[list[str]] = []
    enough = threading.Event()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.ids.append(stripe.Webhook.construct_event(body, self.headers["Stripe-Signature"], SECRET).id)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        if len(self.ids) >= 20:
            self.enough.set()

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def hook() -> Iterator[str]:
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}/hook"
    served.shutdown()
    served.server_close()
    thread.join()


def test_as_a_process_it_serves_lives_delivers_and_breaks_as_told_until_a_signal_comes(hook: str) -> None:
    fault = {"kind": "status", "route": "/v1/products", "status": 503, "count": None}
    command = [sys.executable, "-m", "tests.fake_stripe", "--port", "0", "--objects", "400", "--deliver-to", hook]
    command += ["--webhook-secret", SECRET, "--rate", "50", "--fault", json.dumps(fault), "--disturb", '{"duplicate": 1.0}']
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        told = json.loads(process.stdout.readline())
        asked = urllib.request.Request(told["url"] + "/v1/customers", headers={"Authorization": f"Bearer {told['api_key']}"})
        with urllib.request.urlopen(asked, timeout=20) as answer:
            assert len(json.load(answer)["data"]) == 10
        asked.full_url = told["url"] + "/v1/products"
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(asked, timeout=20)
        lines = threading.Thread(target=lambda: list(process.stdout))
        lines.start()
        assert Endpoint.enough.wait(40)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        lines.join()
    assert sum(Endpoint.ids.count(one) == 2 for one in set(Endpoint.ids)) >= 5


def test_its_own_cost_can_be_measured() -> None:
    found = measure(400, 0.0)
    assert found["subscriptions"]["objects"] > 80
    assert found["invoices"]["per_s"] > 0


def test_a_life_and_its_events_are_the_same_for_a_seed_and_others_for_another() -> None:
    def lived(seed: int) -> list[bytes]:
        fake = FakeStripe(seed=seed, clock=Clock(START))
        generator = generate(fake.state, Shape(ours=10, unmatched=2, personal=2), seed=seed)
        fake.deliver_to(lambda body, headers: 200, auto=False, version="2024-06-20")
        life = Life(fake, generator, [company(5_000 + n, generator.rng) for n in range(5)], seed=seed)
        for _ in range(40):
            life.tick()
            fake.clock.advance(7)
        return [event.body() for event in fake.state.of("event")]

    assert lived(5) == lived(5)
    assert lived(5) != lived(6)


def test_a_virtual_clock_moves_only_when_told_and_a_real_one_can_be_stopped_and_let_go() -> None:
    with time_machine.travel(START, tick=False) as wall:
        virtual, real = Clock(START - 1000), Clock()
        wall.shift(60)
        assert (virtual.now(), real.now()) == (START - 1000, START + 60)
        virtual.advance(1.5)
        real.advance(40)
        assert (virtual.time(), real.now()) == (START - 998.5, START + 100)
        real.freeze()
        wall.shift(60)
        assert (real.now(), real.virtual) == (START + 100, True)
        real.thaw()
        wall.shift(5)
        assert real.now() == START + 105
