"""Every golden case on the page and in the API: what the rules can say, the pages can show."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask import Flask

from models.domain.types import Summary
from models.settings import AppSettings
from models.store.access import create_token
from models.store.session import session_scope
from tests.integration.test_pages import text_of
from tests.support import only_sqlite
from tests.support.browsing import add_user, as_user
from tests.support.seeds import add_customer
from webhook_app.explain import explain
from webhook_app.factory import create_app
from webhook_app.services import services
from webhook_app.ui import words

CASES = sorted((Path(__file__).parents[1] / "golden").glob("*.json"))


@pytest.fixture
def app(settings: AppSettings) -> Iterator[Flask]:
    app = create_app(settings)
    yield app
    services(app).database.dispose()


@only_sqlite
def test_every_golden_case_is_shown_with_its_figures_and_its_derivation(app: Flask) -> None:
    assert CASES
    now = int(time.time())
    with session_scope(services(app).database, write=True) as conn:
        header = {"Authorization": f"Bearer {create_token(conn, 'csm', None, now)}"}
    client = as_user(app, add_user(app, "a@example.com", "csm", now), now)
    for path in CASES:
        output: Any = explain(json.loads(path.read_text())["input"])
        for customer in output["customers"]:
            summary = msgspec.convert(customer, Summary)
            with session_scope(services(app).database, write=True) as conn:
                row_id = add_customer(conn, path.stem, summary, now=now)
            answer = client.get(f"/customers/{row_id}")
            assert answer.status_code == 200, path.stem
            page = text_of(answer.get_data(as_text=True))
            assert words.STATUS_WORDS[summary.payment_status] in page, path.stem
            assert words.mrr(summary.mrr) in page, path.stem
            assert all(str(step["subscription"]) in page for step in summary.derivation), path.stem
            found = app.test_client().get(f"/api/v1/customers/{row_id}", headers=header).json
            for field in ("plan", "plan_label", "mrr", "payment_status", "headline", "flags", "derivation", "overdue"):
                assert found[field] == customer[field], (path.stem, field)
    assert client.get("/customers?sort=name").status_code == 200
