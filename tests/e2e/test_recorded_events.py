"""Stripe's own recorded events through the real endpoint, the workers, the API and the customer page (issue 2)."""

import json
import random
import socket
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from models.settings import AppSettings
from models.store import bulk
from models.store.access import create_token, create_user
from models.store.keys import Keyring
from models.store.logins import create_session
from models.store.session import Database, session_scope
from tests.fake_stripe.clock import Clock
from tests.fake_stripe.server import FakeStripe
from tests.support import only_sqlite
from tests.support.backfilled import lifted
from tests.support.browsing import add_user, as_user
from tests.support.deliveries import sign
from tests.support.ledger import Ledger
from tests.support.pipeline import Pipeline, explained_figures, stored_figures
from tests.support.recorded import Json, accounts, answer_with, events, explain_lists, told
from tests.support.stack import Stack
from webhook_app.factory import create_app
from webhook_app.services import services

FINE = {"applied", "superseded", "ignored"}


def objects_of(everything: list[Json]) -> dict[str, Json]:
    """The newest of each object that events tell of."""
    ordered = sorted((one for one in everything if "id" in one["data"]["object"]), key=lambda one: one["created"])
    return {one["data"]["object"]["id"]: one["data"]["object"] for one in ordered}


def recorded_and_told() -> tuple[list[Json], list[Json], list[str]]:
    """(all events, the objects that figures come from, our customers' domains): the recorded events but for the deletion of
    the customer whose subscriptions they tell of, and an event for each recorded object of an account."""
    everything = [one for one in events() if one["type"] != "customer.deleted"]
    owners = {o["id"]: o for o in (e["data"]["object"] for e in everything) if o.get("object") == "customer"}
    kept = objects_of([one for one in everything if not one["type"].startswith(("price.deleted", "product.deleted"))])
    figures = [o for o in kept.values() if o["object"] in ("price", "product") or o.get("customer") in owners]
    figures += owners.values()
    domains = {owner["email"].partition("@")[2] for owner in owners.values() if owner.get("email")}
    number = 0
    for version, domain, objects in accounts():
        domains.add(domain)
        for one in objects:
            number += 1
            everything.append(told(version, number, one))
            figures.append(one)
    return everything, figures, sorted(domains)


@pytest.fixture(params=["unreachable", "404", "answers"])
def stripe(request: pytest.FixtureRequest) -> Iterator[tuple[FakeStripe, str | None]]:
    """A fake Stripe and the address at which we look for it."""
    fake = FakeStripe(livemode=False, clock=Clock(time.time()))
    if request.param == "answers":
        answer_with(fake, objects_of(recorded_and_told()[0]))
    fake.change.create_customer("somebody@unrelated.example")  # an account with nobody in it looks like a wrong key
    with fake, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield fake, f"http://127.0.0.1:{closed.getsockname()[1]}" if request.param == "unreachable" else None


@pytest.fixture
def line(
    database: Database, settings: AppSettings, keyring: Keyring, stripe: tuple[FakeStripe, str | None]
) -> Iterator[Pipeline]:
    fake, api_base = stripe
    found = Pipeline(database, lifted(settings), keyring, fake, api_base=api_base)
    yield found
    found.close()


@pytest.fixture
def app(settings: AppSettings, line: Pipeline) -> Iterator[Flask]:
    found = create_app(settings)
    yield found
    services(found).database.dispose()


def post(app: Flask, line: Pipeline, everything: list[Json]) -> None:
    """Deliver each event, some of them twice, in any order; all are taken."""
    sent = everything + everything[::3]
    random.Random(1).shuffle(sent)
    for one in sent:
        body = json.dumps(one).encode()
        answer = app.test_client().post(line.record.webhook_path, data=body, headers={"Stripe-Signature": sign(body)})
        assert answer.status_code == 200, one["type"]


def statuses(database: Database) -> dict[str, tuple[str, str | None]]:
    """(status, error) by event id."""
    with session_scope(database) as connection:
        return {row[0]: (row[1], row[2]) for row in bulk.run(connection, "SELECT event_id, status, error FROM inbox")}


def check_page(page: str, api: dict[str, Any], expected: dict[str, Any]) -> None:
    """The page and the API say what `explain` says."""
    assert {name: api[name] for name in ("plan", "plan_label", "mrr", "payment_status", "headline")} == {
        name: expected[name] for name in ("plan", "plan_label", "mrr", "payment_status", "headline")
    }
    assert expected["headline"] in unescape(page)
    if expected["plan_label"]:
        assert expected["plan_label"] in unescape(page)


@pytest.mark.fault("F21", "F22")
def test_every_recorded_event_is_taken_stored_once_and_breaks_nothing(app: Flask, line: Pipeline, database: Database) -> None:
    everything = events()
    line.add_customers("acme.example")
    post(app, line, everything)
    line.drain()
    found = statuses(database)
    assert found.keys() == {one["id"] for one in everything}
    waiting = {key: value for key, value in found.items() if value[0] not in FINE}
    assert {status for status, _ in waiting.values()} <= {"pending"}
    assert all(error for _, error in waiting.values()), "what waits says for what"
    if line.record.api_base == line.fake.url:  # Stripe answers, be it 404: everything comes to its end
        line.drain_all()
        assert {status for status, _ in statuses(database).values()} <= FINE, statuses(database)
    reader = as_user(app, add_user(app, "csm@example.com", "csm", int(time.time())), int(time.time()))
    for customer_id in stored_figures(database):
        assert reader.get(f"/customers/{customer_id}").status_code == 200
    assert reader.get("/customers?environment=staging").status_code == 200


def test_recorded_accounts_are_shown_as_explain_explains_them(app: Flask, line: Pipeline, database: Database) -> None:
    everything, figures, domains = recorded_and_told()
    ids = line.add_customers(*domains)
    post(app, line, everything)
    line.drain()
    now = line.fake.clock.now()
    expected = explained_figures(database, explain_lists(figures), now, livemode=False)
    assert stored_figures(database) == expected
    assert any(one["mrr"] for one in expected.values())
    assert {"paid", "none"} <= {one["payment_status"] for one in expected.values()}
    with session_scope(database, write=True) as connection:
        token = create_token(connection, "csm", "test", now)
    reader = as_user(app, add_user(app, "csm@example.com", "csm", int(time.time())), int(time.time()))
    for customer_id in ids.values():
        page = reader.get(f"/customers/{customer_id}")
        api = app.test_client().get(f"/api/v1/customers/{customer_id}", headers={"Authorization": f"Bearer {token}"})
        assert (page.status_code, api.status_code) == (200, 200)
        check_page(page.get_data(as_text=True), api.json, expected[str(customer_id)])


@only_sqlite
def test_recorded_events_go_through_real_processes_to_the_page(database: Database, tmp_path: Path) -> None:
    everything, figures, domains = recorded_and_told()
    fake = FakeStripe(livemode=False, clock=Clock(time.time()))
    answer_with(fake, objects_of(everything))
    with fake, Stack(database, fake, tmp_path, domains=domains) as stack:
        ledger = Ledger(stack)
        ledger.send([json.dumps(one).encode() for one in everything])
        assert ledger.acked == {one["id"] for one in everything}
        assert set(ledger.statuses) == {200}
        stack.settle(unless_told_why=True)
        expected = explained_figures(database, explain_lists(figures), int(time.time()), livemode=False)
        assert stored_figures(database) == expected
        now = int(time.time())
        with session_scope(database, write=True) as connection:
            token = create_token(connection, "csm", "test", now)
            session_id = create_session(connection, create_user(connection, "csm@example.com", "csm", now), now)
        assert stack.web is not None
        for customer_id, figure in expected.items():
            status, api = stack.web.ask("GET", f"/api/v1/customers/{customer_id}", Authorization=f"Bearer {token}")
            shown, page = stack.web.ask("GET", f"/customers/{customer_id}", Cookie=f"pivotal={session_id}")
            assert (status, shown) == (200, 200)
            check_page(page.decode(), json.loads(api), figure)
