"""`/api/v1/customers`: documents, pages, refusals, ETags (issue 2.8)."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import settings as example_settings
from hypothesis import strategies as st
from sqlalchemy import select

from models.domain.types import Overdue
from models.settings import AppSettings
from models.store.access import create_token, revoke_token
from models.store.session import session_scope
from models.tables import ApiToken
from tests.support import only_sqlite
from tests.support.seeds import add_change, add_customer, derivation_of, seed_customers, summary_of
from webhook_app.api import access
from webhook_app.api.params import LIST_PARAMETERS
from webhook_app.factory import create_app
from webhook_app.services import services

NOW = int(time.time())
LIST_FIELDS = {
    "id",
    "name",
    "domain",
    "environment",
    "owner",
    "external_id",
    "plan",
    "plan_label",
    "mrr",
    "payment_status",
    "billing_started_at",
    "stripe_customer_id",
    "headline",
    "flags",
    "as_of",
}
WHOLE_FIELDS = LIST_FIELDS | {
    "aliases",
    "created_at",
    "subscription_id",
    "renews_at",
    "trial_ends_at",
    "cancels_at",
    "collection_paused",
    "invoice_id",
    "amount_due",
    "amount_due_currency",
    "overdue",
    "failure_reason",
    "attempt_count",
    "next_retry_at",
    "native",
    "derivation",
    "stripe_customers",
    "fx_date",
    "next_change_at",
}


@pytest.fixture
def app(settings: AppSettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    monkeypatch.setattr(access, "_strikes", access.Strikes(access.BAD_TOKENS_A_MINUTE))
    app = create_app(settings)
    yield app
    services(app).database.dispose()


class Api:
    """A client with a bearer token."""

    def __init__(self, app: Flask, role: str = "csm") -> None:
        self.app = app
        with session_scope(services(app).database, write=True) as conn:
            self.token = create_token(conn, role, "test", NOW)

    def get(self, path: str, **headers: str) -> Any:
        client: FlaskClient = self.app.test_client()
        return client.get(f"/api/v1{path}", headers={"Authorization": f"Bearer {self.token}", **headers})

    def refused(self, path: str, status: int) -> dict[str, Any]:
        answer = self.get(path)
        assert (answer.status_code, answer.mimetype) == (status, "application/problem+json"), path
        document: dict[str, Any] = json.loads(answer.data)
        assert {"type", "title", "status"} <= document.keys()
        assert document["status"] == status
        return document


@pytest.fixture
def api(app: Flask) -> Api:
    return Api(app)


def test_the_list_walks_all_customers_by_cursor_with_totals(app: Flask, api: Api) -> None:
    with session_scope(services(app).database, write=True) as conn:
        ids = seed_customers(conn, 120, now=NOW)
    for sort in ("-mrr", "mrr", "name", "-name"):
        seen: list[str] = []
        path = f"/customers?limit=50&sort={sort}"
        while path:
            document = api.get(path).json
            assert document["total"] == 120
            assert set(document["data"][0]) == LIST_FIELDS
            seen += [row["id"] for row in document["data"]]
            path = f"/customers?limit=50&sort={sort}&cursor={document['next_cursor']}" if document["next_cursor"] else ""
        assert sorted(seen) == sorted(str(number) for number in ids)
    rows = api.get("/customers?limit=200").json
    assert rows["total_mrr"] == sum(row["mrr"] or 0 for row in rows["data"])
    assert rows["total_mrr_unknown"] == sum(row["mrr"] is None for row in rows["data"])
    known = [row["mrr"] for row in rows["data"] if row["mrr"] is not None]
    assert known == sorted(known, reverse=True), "highest MRR first by default"


def test_filters_narrow_and_may_be_repeated_or_joined_by_commas(app: Flask, api: Api) -> None:
    with session_scope(services(app).database, write=True) as conn:
        for number, status in enumerate(("paid", "past_due", "failing", "none")):
            summary = summary_of(payment_status=status, plan=f"plan, {number}", plan_label=f"Plan, {number}", mrr=number)
            add_customer(
                conn,
                f"Co {status}",
                summary,
                now=NOW,
                domain=f"{status}.com",
                environment="staging" if status == "none" else "production",
            )

    def names(query: str) -> list[str]:
        return [row["name"] for row in api.get(f"/customers?sort=name&{query}").json["data"]]

    assert names("payment_status=failing") == ["Co failing"]
    assert (
        names("payment_status=failing,paid") == names("payment_status=paid&payment_status=failing") == ["Co failing", "Co paid"]
    )
    assert names("plan=plan,%201&plan=Plan,%202") == ["Co failing", "Co past_due"]
    assert names("environment=staging") == ["Co none"]
    assert names("q=PAID.c") == ["Co paid"]
    assert names("q=nothing+such") == []


def test_one_customer_carries_the_whole_read_model(app: Flask, api: Api) -> None:
    derived = derivation_of("cus_1", "price_1", 20000, 7, yearly=False, discount=None)
    summary = summary_of(
        plan="growth_monthly",
        plan_label="Growth",
        mrr=140000,
        payment_status="failing",
        stripe_customer_id="cus_1",
        flags=("collection_paused",),
        overdue=(Overdue("usd", 120000, 2),),
        derivation=(derived,),
        failure_reason="expired_card",
        attempt_count=2,
        next_retry_at=NOW + 5,
        amount_due=140000,
        amount_due_currency="usd",
        billing_started_at=1700000000,
    )
    with session_scope(services(app).database, write=True) as conn:
        row_id = add_customer(
            conn, "Acme", summary, now=NOW, domain="acme.com", aliases='["acme.io"]', owner="Dana", external_id="x1"
        )
        add_change(conn, row_id, "mrr", "expansion", 120000, 140000, now=NOW, amount=20000)
    found = api.get(f"/customers/{row_id}").json
    assert set(found) == WHOLE_FIELDS
    assert (found["id"], found["mrr"], found["headline"]) == (str(row_id), 140000, "Plan: Growth, MRR $1,400, payment failing")
    assert found["overdue"] == [{"currency": "usd", "amount": 120000, "invoices": 2}]
    assert (found["collection_paused"], found["aliases"], found["derivation"]) == (True, ["acme.io"], [derived])
    changes = api.get(f"/customers/{row_id}/changes").json
    assert changes["next_cursor"] is None
    assert changes["data"][0] | {"id": ""} == {
        "id": "",
        "at_ms": NOW * 1000,
        "field": "mrr",
        "kind": "expansion",
        "before": 120000,
        "after": 140000,
        "amount": 20000,
        "cause": "event",
    }


def test_the_page_about_the_api_names_every_parameter_and_field() -> None:
    told = (Path(__file__).parents[2] / "docs/api.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_]+)`", told))
    assert named >= WHOLE_FIELDS | LIST_PARAMETERS


def test_history_walks_by_cursor_and_its_cursor_fits_no_other_customer(app: Flask, api: Api) -> None:
    with session_scope(services(app).database, write=True) as conn:
        one, other = add_customer(conn, "A", now=NOW), add_customer(conn, "B", now=NOW)
        for number in range(5):
            add_change(conn, one, "plan", "changed", number, number + 1, now=NOW)
    first = api.get(f"/customers/{one}/changes?limit=3").json
    rest = api.get(f"/customers/{one}/changes?limit=3&cursor={first['next_cursor']}").json
    assert [change["after"] for change in first["data"] + rest["data"]] == [5, 4, 3, 2, 1]
    assert rest["next_cursor"] is None
    assert api.refused(f"/customers/{other}/changes?cursor={first['next_cursor']}", 422)["errors"][0]["parameter"] == "cursor"


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=ten", "limit"),
        ("limit=-1", "limit"),
        ("limit=%C2%B2", "limit"),
        ("limit=5&limit=6", "limit"),
        ("sort=created", "sort"),
        ("sort=mrr;drop", "sort"),
        ("payment_status=late", "payment_status"),
        ("payment_status=paid,", "payment_status"),
        ("environment=prod", "environment"),
        ("cursor=abc", "cursor"),
        ("cursor=", "cursor"),
        ("status=failing", "status"),
        ("q=%00", "q"),
        ("q=" + "a" * 201, "q"),
        ("plan=%0A", "plan"),
        ("page=2", "page"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_named(api: Api, query: str, parameter: str) -> None:
    document = api.refused(f"/customers?{query}", 422)
    assert document["errors"][0]["parameter"] == parameter
    assert document["detail"].startswith(parameter)


@example_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(["q", "payment_status", "plan", "environment", "sort", "limit", "cursor", "x"]), st.text(max_size=30)
    )
)
@pytest.mark.fault("S45")
def test_no_query_whatever_is_an_error_of_ours(api: Api, query: dict[str, str]) -> None:
    answer = api.app.test_client().get(
        "/api/v1/customers", query_string=query, headers={"Authorization": f"Bearer {api.token}"}
    )
    assert answer.status_code in {200, 422}


@pytest.mark.fault("S38")
@pytest.mark.parametrize("wrong", ["0", "-1", "abc", "1.0", "01", "9" * 19, "9" * 400, "999999", "%00", "1%20", "cus_1", "٣"])
def test_an_id_of_the_wrong_kind_is_not_found(api: Api, wrong: str) -> None:
    api.refused(f"/customers/{wrong}", 404)
    api.refused(f"/customers/{wrong}/changes", 404)


def test_methods_paths_and_tokens_that_are_wrong_get_problem_documents(app: Flask, api: Api) -> None:
    client = app.test_client()
    header = {"Authorization": f"Bearer {api.token}"}
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = client.open("/api/v1/customers", method=method, headers=header)
        assert (answer.status_code, answer.mimetype) == (405, "application/problem+json")
        assert "GET" in answer.headers["Allow"]
    api.refused("/nowhere", 404)
    for given_header in (
        {},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer pst_wrong"},
        {"Authorization": "Basic eDp5"},
        {"Authorization": f"Bearer {api.token}x"},
        {"Authorization": "Bearer pst_" + "x" * 4000},
    ):
        answer = client.get("/api/v1/customers", headers=given_header)
        assert (answer.status_code, answer.mimetype) == (401, "application/problem+json")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    with session_scope(services(app).database, write=True) as conn:
        revoke_token(conn, conn.execute(select(ApiToken.id)).scalar_one(), NOW)
    assert api.get("/customers").status_code == 401


def test_an_answer_that_did_not_change_is_304_and_a_changed_one_is_sent(app: Flask, api: Api) -> None:
    with session_scope(services(app).database, write=True) as conn:
        row_id = add_customer(conn, "Acme", now=NOW)
    for path in ("/customers", f"/customers/{row_id}", f"/customers/{row_id}/changes"):
        first = api.get(path)
        again = api.get(path, **{"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]
    with session_scope(services(app).database, write=True) as conn:
        add_customer(conn, "Beta", now=NOW)
    assert api.get("/customers", **{"If-None-Match": api.get(f"/customers/{row_id}").headers["ETag"]}).status_code == 200


@pytest.mark.fault("S11")
@only_sqlite
def test_an_address_that_guesses_tokens_is_slowed_and_known_tokens_from_elsewhere_are_not(app: Flask, api: Api) -> None:
    client = app.test_client()
    here = {"environ_base": {"REMOTE_ADDR": "192.0.2.9"}}
    statuses = [
        client.get("/api/v1/customers", headers={"Authorization": f"Bearer pst_{n}"}, **here).status_code
        for n in range(access.BAD_TOKENS_A_MINUTE + 3)
    ]
    assert statuses[0] == 401
    assert statuses[-1] == 429
    answer = client.get("/api/v1/customers", headers={"Authorization": "Bearer pst_x"}, **here)
    assert answer.mimetype == "application/problem+json"
    assert int(answer.headers["Retry-After"]) == 60
    assert api.get("/customers").status_code == 200


def test_the_use_of_a_token_is_noted_once_an_hour(app: Flask, api: Api) -> None:
    api.get("/customers")
    with session_scope(services(app).database) as conn:
        used = conn.execute(select(ApiToken.last_used_at)).scalar_one()
    assert used is not None
    assert abs(used - time.time()) < 60
