"""What is told to nobody (FAULTS I8, S22): planted names, addresses, secrets and payloads are looked for in every log line,
everything in Redis, and every stored error, after all kinds of trouble."""

import json
from collections.abc import Iterator

import pytest
import redis
from flask import Flask

from models.settings import AppSettings
from models.store import bulk
from models.store.connections import ConnectionRecord
from models.store.keys import Keyring
from models.store.session import Database, session_scope
from tests.support.deliveries import body_of, event, sign
from tests.support.environment import API_KEY, WEBHOOK_SECRET
from webhook_app import create_app
from webhook_app.services import Services
from workers import absorb, drain, events
from workers.drain import Drainer, Tools
from workers.queue import Bell

NAME, ADDRESS, NOTE = "Canarina Vogel", "canarina.vogel@canary-secret.example", "canary-payload-4242"
CANARIES = (NAME, "canarina", ADDRESS, NOTE, API_KEY, WEBHOOK_SECRET, "canary")


@pytest.fixture
def app(settings: AppSettings, connection_record: ConnectionRecord) -> Iterator[Flask]:
    made = create_app(settings)
    parts: Services = made.extensions["pivotal"]
    yield made
    parts.inbox.ring.flush(5)  # type: ignore[attr-defined]
    parts.database.dispose()


def deliveries(now: int) -> Iterator[tuple[bytes, str]]:
    """Bodies with canaries, and signatures good and bad."""
    person = {"id": "cus_1", "object": "customer", "name": NAME, "email": ADDRESS, "metadata": {"note": NOTE}, "created": now}
    subscription = {"id": "sub_1", "object": "subscription", "customer": "cus_1", "created": {"canary": NOTE}, "items": NOTE}
    good = event("evt_good", data={"object": person})
    for found in (
        good,
        event("evt_mode", livemode=False, data={"object": person}),
        event("evt_created", created=NOTE, data={"object": person}),
        event("evt_odd", "customer.subscription.updated", data={"object": subscription}),
        event("evt_poison", "customer.created", data={"object": person}),
        event(ADDRESS * 20, data={"object": person}),
        event("evt_type", NOTE, data={"object": person}),
    ):
        yield body_of(found), sign(body_of(found))
    torn = body_of(good)[:-5]
    yield torn, sign(torn)
    yield body_of(good), sign(body_of(good), "whsec_" + NOTE)
    yield body_of(good), f"t={now},v1={NOTE}"


@pytest.mark.fault("I8", "S22", "S23", "F58")
def test_no_canary_is_in_a_log_line_in_redis_or_in_a_stored_error(
    app: Flask,
    settings: AppSettings,
    database: Database,
    keyring: Keyring,
    connection_record: ConnectionRecord,
    redis_url: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = app.test_client()
    statuses = [
        client.post(connection_record.webhook_path, data=body, headers={"Stripe-Signature": header}).status_code
        for body, header in deliveries(1_790_000_000)
    ]
    assert sorted(set(statuses)) == [200, 400]

    def fp(name: str) -> None:
        if name == "apply_customer.created":
            raise ValueError(f"{NAME} <{ADDRESS}>")
        if name == "before_apply" and len(trouble) < 2:
            trouble.append(name)
            raise RuntimeError(NOTE)

    trouble: list[str] = []
    for module in (events, drain, absorb):
        monkeypatch.setattr(module, "fp", fp)
    tools = Tools(settings, database, Bell(redis_url), keyring)
    Drainer(tools).run(set(range(settings.partition_count)), company_s=0.0)
    tools.readers.close()
    with session_scope(database) as connection:
        errors = [row[0] for row in bulk.run(connection, "SELECT error FROM inbox WHERE error IS NOT NULL")]
        poison = bulk.run(connection, "SELECT error FROM inbox WHERE event_id = 'evt_poison'").scalar()
    assert poison == "ValueError"
    with redis.Redis.from_url(redis_url) as store:
        kept = [repr(key) + repr(store.dump(key)) for key in store.scan_iter()]
    captured = capfd.readouterr()
    said = {"log": captured.out + captured.err, "redis": " ".join(kept), "errors": json.dumps(errors)}
    assert "event_quarantined" in said["log"]
    found = [(where, canary) for where, text in said.items() for canary in CANARIES if canary.lower() in text.lower()]
    assert found == []
