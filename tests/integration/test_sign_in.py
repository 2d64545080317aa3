"""Signing in and out through the pages: cookies, forgery, throttling, enumeration, fixation, time."""

import re
import time
from collections.abc import Iterator

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select

from models.settings import AppSettings
from models.store.access import create_one_time_link, disable_user, set_role
from models.store.audit import first_broken_entry
from models.store.logins import ABSOLUTE, FREE_FAILURES, IDLE
from models.store.session import session_scope
from models.tables import AuditEntry, LoginSession
from tests.support import only_sqlite
from tests.support.browsing import PASSWORD, add_user, as_user, form_token, sign_in
from webhook_app.factory import create_app
from webhook_app.services import services


@pytest.fixture
def app(settings: AppSettings) -> Iterator[Flask]:
    app = create_app(settings)
    yield app
    services(app).database.dispose()


def now() -> int:
    return int(time.time())


def test_the_first_admin_comes_in_by_the_one_time_link_and_later_by_password(app: Flask) -> None:
    with session_scope(services(app).database, write=True) as conn:
        from models.store.access import create_user

        link = create_one_time_link(conn, create_user(conn, "boss@example.com", "admin", now()), now())
    client = app.test_client()
    page = client.get(f"/welcome/{link}")
    assert page.status_code == 200
    assert b"boss@example.com" in page.data
    token = form_token(page)
    refused = client.post(f"/welcome/{link}", data={"csrf": token, "password": "too short"})
    assert refused.status_code == 422
    assert b"at least 12" in refused.data
    done = client.post(f"/welcome/{link}", data={"csrf": token, "password": PASSWORD})
    assert (done.status_code, done.headers["Location"]) == (303, "/customers")
    assert client.get("/customers").status_code == 200
    again = app.test_client()
    assert again.get(f"/welcome/{link}").status_code == 410
    assert sign_in(again, "Boss@Example.com ", PASSWORD).status_code == 303
    assert again.get("/admin/stripe").status_code == 200


@pytest.mark.fault("S31")
def test_signing_in_gives_a_new_session_and_ends_the_one_the_browser_came_with(app: Flask) -> None:
    add_user(app, "a@example.com", "csm", now())
    client = app.test_client()
    client.set_cookie("pivotal", "an-id-that-an-attacker-chose")
    sign_in(client, "a@example.com", PASSWORD)
    first = client.get_cookie("pivotal")
    assert first is not None
    assert first.value != "an-id-that-an-attacker-chose"
    token = form_token(client.get("/customers"))
    client.post("/sign-in", data={"email": "a@example.com", "password": PASSWORD, "csrf": token})
    second = client.get_cookie("pivotal")
    assert second is not None
    assert second.value != first.value
    stolen = app.test_client()
    stolen.set_cookie("pivotal", first.value)
    assert stolen.get("/customers").status_code == 303


@pytest.mark.fault("S28")
@only_sqlite
def test_an_unknown_account_is_answered_like_a_wrong_password_and_throttled_alike(app: Flask) -> None:
    add_user(app, "known@example.com", "csm", now())
    add_user(app, "fresh@example.com", "csm", now(), password=None)
    with session_scope(services(app).database, write=True) as conn:
        disable_user(conn, add_user_id(app, "gone@example.com", conn), now())
    answers = {}
    for email in ("known@example.com", "nobody@example.com", "fresh@example.com", "gone@example.com"):
        client = app.test_client()
        pages = [sign_in(client, email, "not the password at all") for _ in range(FREE_FAILURES + 1)]
        shown = [re.sub(r'value="[^"]*"|nonce="[^"]*"|\d+ seconds', "", page.get_data(as_text=True)) for page in pages]
        answers[email] = [
            (page.status_code, text, sorted(page.headers.keys())) for page, text in zip(pages, shown, strict=True)
        ]
    assert answers["known@example.com"][0][0] == 422
    assert answers["known@example.com"][-1][0] == 429
    assert all(answer == answers["known@example.com"] for answer in answers.values())


def add_user_id(app: Flask, email: str, conn: object) -> int:
    from models.store.access import create_user

    return create_user(conn, email, "csm", now())  # type: ignore[arg-type]


@pytest.mark.fault("S28")
def test_an_unknown_account_costs_a_password_check_too(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    from webhook_app.auth import pages

    checked: list[str | None] = []
    real = pages.verify_password
    monkeypatch.setattr(pages, "verify_password", lambda stored, given: checked.append(stored) or real(stored, given))
    assert sign_in(app.test_client(), "nobody@example.com", "some password here").status_code == 422
    assert checked == [None]


@pytest.mark.fault("S28")
def test_a_throttled_account_is_refused_even_with_the_right_password_until_the_wait_is_over(app: Flask) -> None:
    add_user(app, "a@example.com", "csm", now())
    client = app.test_client()
    for _ in range(FREE_FAILURES):
        sign_in(client, "a@example.com", "wrong wrong wrong")
    blocked = sign_in(client, "a@example.com", PASSWORD)
    assert blocked.status_code == 429
    assert 0 < int(blocked.headers["Retry-After"]) <= 5
    with time_machine.travel(time.time() + 6):
        assert sign_in(client, "a@example.com", PASSWORD).status_code == 303


@pytest.mark.fault("S34")
def test_under_https_the_cookie_is_host_bound_secure_and_out_of_reach_of_scripts(settings: AppSettings) -> None:
    app = create_app(settings.model_copy(update={"https": True, "allowed_hosts": "pivotal.example"}))
    add_user(app, "a@example.com", "csm", now())
    client = app.test_client()
    page = client.get("/sign-in", base_url="https://pivotal.example")
    answer = client.post(
        "/sign-in",
        base_url="https://pivotal.example",
        data={"email": "a@example.com", "password": PASSWORD, "csrf": form_token(page)},
    )
    cookie = next(value for value in answer.headers.getlist("Set-Cookie") if value.startswith("__Host-pivotal="))
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= {part.strip() for part in cookie.split(";")}
    assert "Domain" not in cookie
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=31536000")
    assert client.get("/customers", base_url="https://pivotal.example").status_code == 200
    services(app).database.dispose()


@pytest.mark.fault("S34")
@pytest.mark.parametrize(
    ("host", "peer"), [("pivotal.example", "127.0.0.1"), ("localhost", "198.51.100.7"), ("pivotal.example", "198.51.100.7")]
)
def test_without_https_nobody_signs_in_from_another_machine(settings: AppSettings, host: str, peer: str) -> None:
    app = create_app(settings.model_copy(update={"allowed_hosts": "pivotal.example"}))
    user_id = add_user(app, "a@example.com", "csm", now())
    elsewhere = {"base_url": f"http://{host}", "environ_base": {"REMOTE_ADDR": peer}}
    page = app.test_client().get("/sign-in", **elsewhere)
    assert page.status_code == 403
    assert "Set-Cookie" not in page.headers
    assert b"HTTPS" in page.data
    client = as_user(app, user_id, now())
    cookie = client.get_cookie("pivotal")
    assert cookie is not None
    answer = app.test_client().get("/customers", headers={"Cookie": f"pivotal={cookie.value}"}, **elsewhere)
    assert answer.status_code == 303, "a cookie that crossed a network in the clear opens nothing"
    services(app).database.dispose()


@pytest.mark.fault("S49")
def test_a_host_name_that_is_not_ours_is_refused_but_at_stripes_door(app: Flask) -> None:
    client = app.test_client()
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8000"):
        assert client.get("/sign-in", base_url=f"http://{host}").status_code == 400
        assert client.post("/webhooks/stripe/unknown", base_url=f"http://{host}", data=b"{}").status_code == 400
        assert client.get("/healthz", base_url=f"http://{host}").status_code == 200
    assert client.get("/sign-in", base_url="http://127.0.0.1:9000").status_code == 200


@pytest.mark.fault("S35")
def test_a_form_from_another_site_is_refused_even_with_the_right_token(app: Flask) -> None:
    client = as_user(app, add_user(app, "a@example.com", "csm", now()), now())
    token = form_token(client.get("/customers"))
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        assert client.post("/sign-out", data={"csrf": token}, headers=headers).status_code == 403
    for wrong in ("", "x", token[:-1], token + "x", "\u00e9"):
        assert client.post("/sign-out", data={"csrf": wrong}).status_code == 403
    assert client.get("/customers").status_code == 200
    own = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/sign-out", data={"csrf": token}, headers=own).status_code == 303


@pytest.mark.fault("S35")
def test_one_persons_form_token_is_of_no_use_to_another(app: Flask) -> None:
    one = as_user(app, add_user(app, "a@example.com", "csm", now()), now())
    other = as_user(app, add_user(app, "b@example.com", "csm", now()), now())
    assert other.post("/sign-out", data={"csrf": form_token(one.get("/customers"))}).status_code == 403


@pytest.mark.fault("S43")
def test_signing_out_ends_the_session_everywhere_and_clears_what_the_browser_kept(app: Flask) -> None:
    client = as_user(app, add_user(app, "a@example.com", "csm", now()), now())
    cookie = client.get_cookie("pivotal")
    assert cookie is not None
    page = client.get("/customers")
    assert page.headers["Cache-Control"] == "no-store"
    answer = client.post("/sign-out", data={"csrf": form_token(page)})
    assert answer.headers["Clear-Site-Data"] == '"cache"'
    assert client.get_cookie("pivotal") is None
    replayed = app.test_client()
    replayed.set_cookie("pivotal", cookie.value)
    assert replayed.get("/customers").status_code == 303


@pytest.mark.fault("S32")
def test_polling_keeps_nobody_signed_in_and_real_use_does(app: Flask) -> None:
    start = time.time()
    user_id = add_user(app, "a@example.com", "admin", int(start))
    polling, working = as_user(app, user_id, int(start)), as_user(app, user_id, int(start))
    half = IDLE["admin"] // 2 + 60
    with time_machine.travel(start + half, tick=False):
        assert polling.get("/customers/live").status_code == 200
        assert working.get("/customers").status_code == 200
    with time_machine.travel(start + 2 * half, tick=False):
        gone = polling.get(
            "/customers/live", headers={"HX-Request": "true", "HX-Current-URL": "http://localhost/customers?status=failing"}
        )
        assert gone.status_code == 401
        assert gone.headers["HX-Redirect"] == "/sign-in?next=/customers?status%3Dfailing"
        assert working.get("/customers").status_code == 200
    with time_machine.travel(start + ABSOLUTE["admin"] + 1, tick=False):
        answer = working.get("/customers?status=failing")
        assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in?next=/customers?status%3Dfailing")


@pytest.mark.fault("S32")
def test_after_signing_in_again_the_reader_is_back_on_the_page(app: Flask) -> None:
    add_user(app, "a@example.com", "csm", now())
    client = app.test_client()
    sent = client.get("/customers?status=failing")
    page = client.get(sent.headers["Location"])
    form = {"email": "a@example.com", "password": PASSWORD, "csrf": form_token(page)}
    found = re.search(r'name="next" value="([^"]+)"', page.get_data(as_text=True))
    assert found is not None
    answer = client.post("/sign-in", data=form | {"next": found[1]})
    assert answer.headers["Location"] == "/customers?status=failing"
    elsewhere = sign_in(app.test_client(), "a@example.com", PASSWORD, next="//evil.example/")
    assert elsewhere.headers["Location"] == "/customers"


@pytest.mark.fault("S39")
def test_a_role_taken_away_is_gone_at_the_next_request(app: Flask) -> None:
    add_user(app, "boss@example.com", "admin", now())
    user_id = add_user(app, "a@example.com", "admin", now())
    client = as_user(app, user_id, now())
    assert client.get("/admin/stripe").status_code == 200
    with session_scope(services(app).database, write=True) as conn:
        set_role(conn, user_id, "csm", now())
    assert client.get("/admin/stripe").status_code == 403
    with session_scope(services(app).database, write=True) as conn:
        disable_user(conn, user_id, now())
    assert client.get("/customers").status_code == 303


@pytest.mark.fault("S54", "S55")
def test_logins_failures_denials_and_reads_of_the_list_are_audited_without_addresses(app: Flask) -> None:
    user_id = add_user(app, "canary-dana@example.com", "csm", now())
    client = app.test_client()
    sign_in(client, "canary-dana@example.com", "wrong wrong wrong")
    sign_in(client, "canary-dana@example.com", PASSWORD)
    client.get("/customers")
    client.get("/admin/stripe")
    client.post("/sign-out", data={"csrf": form_token(client.get("/customers"))})
    with session_scope(services(app).database) as conn:
        rows = conn.execute(select(AuditEntry.actor, AuditEntry.action, AuditEntry.subject, AuditEntry.details)).all()
        assert first_broken_entry(conn) is None
    actions = [row.action for row in rows]
    assert {"sign_in_failed", "signed_in", "denied", "signed_out"} <= set(actions)
    assert "canary" not in repr(rows)
    assert f"user:{user_id}" in repr(rows)


@pytest.mark.fault("S06")
def test_stripes_door_knows_no_session_cookie_or_form_token(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    client = as_user(app, add_user(app, "a@example.com", "csm", now()), now())
    from webhook_app.auth import gate

    def never(*_args: object) -> None:
        raise AssertionError("the webhook route looked for a session")

    monkeypatch.setattr(gate, "load_session", never)
    answer = client.post("/webhooks/stripe/unknown", data=b"{}", headers={"Origin": "https://evil.example"})
    assert answer.status_code == 400
    assert "Set-Cookie" not in answer.headers
    assert "Vary" not in answer.headers


@pytest.mark.fault("S51")
def test_fields_that_a_form_does_not_have_change_nothing(app: Flask) -> None:
    user_id = add_user(app, "a@example.com", "csm", now())
    client = app.test_client()
    answer = sign_in(client, "a@example.com", PASSWORD, role="admin", user_id="1", disabled="0")
    assert answer.status_code == 303
    assert client.get("/admin/stripe").status_code == 403
    with session_scope(services(app).database) as conn:
        assert list(conn.execute(select(LoginSession.user_id)).scalars()) == [user_id]
