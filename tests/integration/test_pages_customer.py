"""A customer's page says plans and prices by the names people know, with keys and ids at hand (RULES 4; PAGES.md)."""

import re
import time
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from models.settings import AppSettings
from models.store.session import session_scope
from tests.integration.test_pages import text_of
from tests.support import only_sqlite
from tests.support.browsing import add_user, as_user
from tests.support.seeds import add_change, add_customer, derivation_of, summary_of
from webhook_app.factory import create_app
from webhook_app.services import services

NOW = int(time.time())


@pytest.fixture
def app(settings: AppSettings) -> Iterator[Flask]:
    app = create_app(settings)
    yield app
    services(app).database.dispose()


@pytest.fixture
def csm(app: Flask) -> FlaskClient:
    return as_user(app, add_user(app, "csm@example.com", "csm", NOW), NOW)


def test_the_derivation_names_its_prices_and_keeps_their_ids_at_hand(app: Flask, csm: FlaskClient) -> None:
    called = {
        "price_plan": ("growth_monthly", "Growth product"),
        "price_key": ("scale_monthly", None),
        "price_product": (None, "Seats & more"),
        "price_nobody_knows": (None, "price_nobody_knows"),
    }
    subs = [derivation_of(f"cus_{name}", name, 100, 1, yearly=False, discount=None) for name in called]
    for sub, (key, name) in zip(subs, called.values(), strict=True):
        sub["items"][0] |= {"lookup_key": key, "name": name}
    summary = summary_of(plan="growth_monthly", plan_label="Growth", subscription_id="sub_price_plan", derivation=tuple(subs))
    with session_scope(services(app).database, write=True) as conn:
        row_id = add_customer(conn, "Acme", summary, now=NOW)
    page = csm.get(f"/customers/{row_id}").get_data(as_text=True)
    for title, shown in (
        ("growth_monthly · price_plan", "Growth"),
        ("scale_monthly · price_key", "Scale"),
        ("price_product", "Seats &amp; more"),
        ("price_nobody_knows", "price_nobody_knows"),
    ):
        assert f'title="{title}">{shown}<' in page


@only_sqlite
def test_history_says_plans_by_their_labels_and_the_first_import_in_one_line(app: Flask, csm: FlaskClient) -> None:
    with session_scope(services(app).database, write=True) as conn:
        summary = summary_of(plan="prod_name_x", plan_label="Our Own Name", mrr=200)
        row_id = add_customer(conn, "Acme", summary, now=NOW)
        for field, before, after in (("plan", None, "scale_monthly"), ("payment_status", "none", "paid"), ("mrr", 0, 120000)):
            add_change(conn, row_id, field, "baseline", before, after, now=NOW - 9, amount=after if field == "mrr" else None,
                       cause="baseline")  # fmt: skip
        add_change(conn, row_id, "plan", "changed", "scale_monthly", "prod_name_x", now=NOW)
    page = csm.get(f"/customers/{row_id}").get_data(as_text=True)
    history = page.partition('id="history"')[2].partition("<aside>")[0]
    assert len(re.findall("<tr id=", history)) == 2
    assert "First import Scale · $1,200 · Paid Plan Scale Payment Paid MRR $1,200" in text_of("<body>" + history)
    assert 'title="scale_monthly">Scale</span> → <span title="prod_name_x">Our Own Name</span>' in history
