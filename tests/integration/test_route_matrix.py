"""The route matrix (FAULTS S36): every route, method and role has an expected answer, or this test fails."""

import re
import time
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from models.domain.types import Summary
from models.settings import AppSettings
from models.store.access import create_one_time_link, create_token, create_user
from models.store.connections import ConnectionRecord
from models.store.session import session_scope
from tests.support.browsing import add_user, as_user, form_token
from tests.support.seeds import add_customer
from webhook_app.factory import create_app
from webhook_app.services import services

ROLES = ("nobody", "csm", "admin")
IN = 303  # sent to sign in

# rule, method: what (nobody, csm, admin) get. Forms are sent without a CSRF token here: 403 for everybody.
MATRIX: dict[tuple[str, str], tuple[int, int, int]] = {
    ("/", "GET"): (302, 302, 302),
    ("/customers", "GET"): (IN, 200, 200),
    ("/customers/live", "GET"): (IN, 200, 200),
    ("/customers/<customer_id>", "GET"): (IN, 200, 200),
    ("/customers/<customer_id>/live", "GET"): (IN, 200, 200),
    ("/admin/stripe", "GET"): (IN, 403, 200),
    ("/admin/stripe/retry", "POST"): (403, 403, 403),
    ("/sign-in", "GET"): (200, IN, IN),
    ("/sign-in", "POST"): (403, 403, 403),
    ("/sign-out", "POST"): (403, 403, 403),
    ("/welcome/<token>", "GET"): (200, 200, 200),
    ("/welcome/<token>", "POST"): (403, 403, 403),
    ("/api/v1/customers", "GET"): (401, 200, 200),
    ("/api/v1/customers/<customer_id>", "GET"): (401, 200, 200),
    ("/api/v1/customers/<customer_id>/changes", "GET"): (401, 200, 200),
    ("/healthz", "GET"): (200, 200, 200),
    ("/readyz", "GET"): (200, 200, 200),
    ("/webhooks/stripe/<public_id>", "POST"): (400, 400, 400),
    ("/static/<path:filename>", "GET"): (200, 200, 200),
}
# what the forms answer when the token is right: (nobody, csm, admin)
WITH_TOKEN = {
    "/admin/stripe/retry": (403, 403, 303),
    "/sign-in": (422, 422, 422),
    "/sign-out": (303, 303, 303),
    "/welcome/<token>": (422, 422, 422),
}
NO_FORM = {"/webhooks/stripe/<public_id>"}  # authenticated by its signature


@pytest.fixture
def app(settings: AppSettings, connection_record: ConnectionRecord) -> Iterator[Flask]:
    app = create_app(settings)
    yield app
    services(app).database.dispose()


class House:
    """The application with one customer in it, and a client of each role."""

    def __init__(self, app: Flask) -> None:
        self.app, self.now = app, int(time.time())
        with session_scope(services(app).database, write=True) as conn:
            self.customer = add_customer(conn, "Acme", Summary(), now=self.now)
            self.link = create_one_time_link(conn, create_user(conn, "new@example.com", "csm", self.now), self.now)
        self.users = {role: add_user(app, f"{role}@example.com", role, self.now) for role in ("csm", "admin")}

    def client(self, role: str) -> FlaskClient:
        return self.app.test_client() if role == "nobody" else as_user(self.app, self.users[role], self.now)

    def path(self, rule: str) -> str:
        filled = rule.replace("<customer_id>", str(self.customer)).replace("<token>", self.link)
        return filled.replace("<public_id>", "unknown").replace("<path:filename>", "app.css")


@pytest.fixture
def house(app: Flask) -> House:
    return House(app)


def routes(app: Flask) -> set[tuple[str, str]]:
    """Every rule with each method it answers to by itself (HEAD and OPTIONS follow from these)."""
    return {
        (rule.rule, method) for rule in app.url_map.iter_rules() for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


@pytest.mark.fault("S36")
def test_every_route_is_in_the_matrix_and_every_row_has_its_route(app: Flask) -> None:
    assert routes(app) - MATRIX.keys() == set(), "a new route: say who may ask, in MATRIX"
    assert MATRIX.keys() - routes(app) == set(), "a row without a route"


@pytest.mark.fault("S36")
def test_every_view_of_the_pages_and_the_api_says_who_may_ask(app: Flask) -> None:
    others = ("/webhooks/", "/static/", "/healthz", "/readyz")
    ours = [rule for rule in app.url_map.iter_rules() if not rule.rule.startswith(others)]
    silent = {rule.endpoint for rule in ours if not hasattr(app.view_functions[rule.endpoint], "access")}
    assert silent == set()


@pytest.mark.fault("S36")
@pytest.mark.fault("S37")
def test_every_route_answers_each_role_as_the_matrix_says(house: House) -> None:
    wrong = {}
    for (rule, method), expected in MATRIX.items():
        for role, status in zip(ROLES, expected, strict=True):
            answer = house.client(role).open(house.path(rule), method=method)
            if answer.status_code != status:
                wrong[rule, method, role] = (answer.status_code, status)
            check_headers(rule, answer)
            answer.close()
    assert wrong == {}


@pytest.mark.fault("S35")
def test_every_form_refuses_a_missing_token_and_takes_the_right_one_by_role(house: House) -> None:
    forms = {rule for rule, method in MATRIX if method != "GET"} - NO_FORM
    assert forms == WITH_TOKEN.keys(), "a new form: say what it answers, in WITH_TOKEN"
    for rule in sorted(forms):
        for role, status in zip(ROLES, WITH_TOKEN[rule], strict=True):
            client = house.client(role)
            page = client.get("/sign-in") if role == "nobody" else client.get("/customers")
            token = form_token(page)
            assert client.post(house.path(rule), data={"csrf": ""}).status_code == 403, (rule, role)
            answer = client.post(house.path(rule), data={"csrf": token})
            if rule == "/admin/stripe/retry" and role == "nobody":
                assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in")
                continue
            assert answer.status_code == status, (rule, role)


@pytest.mark.fault("S35")
def test_a_get_changes_no_row(house: House) -> None:
    def rows() -> list[object]:
        from sqlalchemy import select

        from models.tables import CustomerRow, LoginSession, OneTimeLink, User

        with session_scope(services(house.app).database) as conn:
            return [conn.execute(select(table)).all() for table in (CustomerRow, User, OneTimeLink, LoginSession)]

    clients = {role: house.client(role) for role in ROLES}
    before = rows()
    for rule, method in MATRIX:
        if method == "GET":
            for role in ROLES:
                clients[role].get(house.path(rule)).close()
    assert rows() == before


@pytest.mark.fault("S36")
def test_other_methods_are_refused_and_head_gives_away_no_more_than_get(house: House) -> None:
    for rule, method in MATRIX:
        allowed = {m for r, m in MATRIX if r == rule}
        for other in {"PUT", "PATCH", "DELETE", "GET", "POST"} - allowed:
            for role in ROLES:
                assert house.client(role).open(house.path(rule), method=other).status_code == 405, (rule, other)
        if method == "GET":
            head = house.client("nobody").head(house.path(rule))
            assert head.status_code == MATRIX[rule, "GET"][0]
            assert head.data == b""
            head.close()


@pytest.mark.fault("S36")
def test_bearer_tokens_of_both_roles_read_the_api_and_open_no_page(house: House) -> None:
    for role in ("csm", "admin"):
        with session_scope(services(house.app).database, write=True) as conn:
            header = {"Authorization": f"Bearer {create_token(conn, role, 'test', house.now)}"}
        for rule, method in MATRIX:
            answer = house.app.test_client().open(house.path(rule), method=method, headers=header)
            expected = 200 if rule.startswith("/api/") else MATRIX[rule, method][0]
            assert answer.status_code == expected, (rule, method, role)
            answer.close()


def check_headers(rule: str, answer: TestResponse) -> None:
    """S41 to S43 on every answer, whatever its status."""
    headers = answer.headers
    assert headers["X-Content-Type-Options"] == "nosniff", rule
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'"), rule
    assert {"frame-ancestors 'none'", "base-uri 'none'"} <= {part.strip() for part in policy.split(";")}, rule
    assert not re.search(r"unsafe|\*|https?:", policy), rule
    assert headers["Referrer-Policy"] == "same-origin", rule
    assert headers["Cross-Origin-Opener-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin", rule
    assert "Access-Control-Allow-Origin" not in headers, rule
    if answer.mimetype.startswith("text/"):
        assert "charset=utf-8" in headers["Content-Type"].lower(), rule
    if not rule.startswith(("/static/", "/webhooks/")):
        assert headers["Cache-Control"] == "no-store", rule


@pytest.mark.fault("S42")
def test_pages_that_do_not_exist_and_errors_carry_the_headers_too(house: House) -> None:
    for path, status in (("/nowhere", 404), ("/customers/0", 404), ("/customers/abc", 404), ("/customers?sort=up", 422)):
        answer = house.client("csm").get(path)
        assert answer.status_code == status, path
        check_headers(path, answer)
