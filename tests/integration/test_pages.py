"""The pages without a browser: states in words, names that bite, live updates, static files."""

import gzip
import html
import re
import time
from collections.abc import Iterator

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import insert, select, update

from models.domain.types import Summary
from models.settings import AppSettings
from models.store.connections import ConnectionRecord
from models.store.session import session_scope
from models.tables import AuditEntry, CustomerRow, InboxEvent, SyncRun
from models.tables import Connection as ConnectionTable
from tests.support import only_sqlite
from tests.support.browsing import add_user, as_user, form_token
from tests.support.seeds import add_change, add_customer, add_match, seed_customers, summary_of
from webhook_app.factory import create_app
from webhook_app.services import services

NOW = int(time.time())
EVIL_NAMES = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7*7 }}",
    "{% raw %}",
    "javascript:alert(1)",
    "</title><svg/onload=alert(1)>",
    "<!--",
    "&lt;b&gt;",
    "\u202egnp.exe",
    "a" * 400,
    "=1+1",
    "\N{HEDGEHOG} & Söhne",
    "<template><tr hx-get=//x>",
]


@pytest.fixture
def app(settings: AppSettings) -> Iterator[Flask]:
    app = create_app(settings)
    yield app
    services(app).database.dispose()


@pytest.fixture
def csm(app: Flask) -> FlaskClient:
    return as_user(app, add_user(app, "csm@example.com", "csm", NOW), NOW)


@pytest.fixture
def admin(app: Flask) -> FlaskClient:
    return as_user(app, add_user(app, "admin@example.com", "admin", NOW), NOW)


def text_of(page: str) -> str:
    """What a reader sees: no tags, no runs of spaces."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", page.partition("<body")[2])))


@pytest.mark.fault("S44")
@pytest.mark.parametrize("name", EVIL_NAMES)
@only_sqlite
def test_a_customers_name_is_text_wherever_it_stands(app: Flask, csm: FlaskClient, name: str) -> None:
    with session_scope(services(app).database, write=True) as conn:
        summary = summary_of(
            plan=name,
            plan_label=name,
            payment_status="failing",
            failure_reason=name,
            stripe_customer_id=name,
            flags=(f"unreadable:{name}", name),
        )
        row_id = add_customer(conn, name, summary, now=NOW, domain=name, owner=name, external_id=name)
        add_change(conn, row_id, "plan", "changed", name, f"{name}2", now=NOW)
    for path in ("/customers", f"/customers/{row_id}", f"/customers/{row_id}/live", f"/customers/live?shown={row_id}-0"):
        page = csm.get(path).get_data(as_text=True)
        assert "7*7" in page or name != "{{ 7*7 }}"
        for broken in ("<script>alert", "<img src=x", "<svg/onload", "' onmouseover='", "<template><tr hx-get"):
            assert broken not in page, path
    found = csm.get("/customers", query_string={"q": name[:200]}).get_data(as_text=True)
    assert "<script>alert" not in found
    assert "<img src=x" not in found


@pytest.mark.fault("S41")
def test_every_script_and_style_on_a_page_carries_its_nonce_and_comes_from_us(csm: FlaskClient) -> None:
    answer = csm.get("/customers")
    page = answer.get_data(as_text=True)
    nonce = re.search(r"script-src 'nonce-([^']+)'", answer.headers["Content-Security-Policy"])
    assert nonce is not None
    for tag in re.findall(r"<script[^>]*>|<link rel=\"stylesheet\"[^>]*>", page):
        assert f'nonce="{nonce[1]}"' in tag
        assert re.search(r'(src|href)="/static/', tag)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|https?://(?!www\.w3\.org)", page)
    assert f"nonce-{nonce[1]}" not in csm.get("/customers").headers["Content-Security-Policy"]


def test_the_header_line_reads_as_the_customer_stands(app: Flask, csm: FlaskClient) -> None:
    summary = summary_of(
        plan="growth_monthly",
        plan_label="Growth",
        mrr=140000,
        payment_status="failing",
        stripe_customer_id="cus_ABC",
        failure_reason="expired_card",
        attempt_count=2,
        amount_due=140000,
        amount_due_currency="usd",
    )
    with session_scope(services(app).database, write=True) as conn:
        row_id = add_customer(conn, "Acme Corp", summary, now=NOW, domain="acme.com", owner="Dana")
        add_change(conn, row_id, "mrr", "expansion", 120000, 140000, now=NOW - 40 * 86400, amount=20000)
    page = csm.get(f"/customers/{row_id}").get_data(as_text=True)
    assert "<title>Acme Corp - Plan: Growth, MRR $1,400, payment failing</title>" in page
    words = text_of(page)
    for said in (
        "Growth",
        "$1,400 / month",
        "↑ $200 since",
        "2nd attempt failed: card expired",
        "$1,400 due",
        "Owner Dana",
        "cus_ABC",
        "Open in Stripe",
    ):
        assert said in words
    assert 'href="https://dashboard.stripe.com/customers/cus_ABC"' in page


@time_machine.travel(NOW, tick=False)
@pytest.mark.fault("F68")
def test_each_state_is_said_in_words(app: Flask, csm: FlaskClient, connection_record: ConnectionRecord) -> None:
    database = services(app).database
    with session_scope(database, write=True) as conn:
        row_id = add_customer(conn, "Acme", Summary(), now=NOW, domain="acme.com")
        staging = add_customer(conn, "Beta", Summary(), now=NOW, environment="staging")

    def says(path: str, **values: object) -> str:
        with session_scope(database, write=True) as conn:
            if values:
                conn.execute(update(ConnectionTable).values(**values))
        return text_of(csm.get(path).get_data(as_text=True))

    unread = "Not imported yet Only what has changed since the connection was made is shown. An admin can run the import. "
    assert unread in says("/customers")
    run = {
        "connection_id": connection_record.id,
        "kind": "backfill",
        "state": "running",
        "objects": 1240,
        "expected_objects": 3900,
        "started_ms": (NOW - 60) * 1000,
        "updated_ms": NOW * 1000,
    }
    with session_scope(database, write=True) as conn:
        conn.execute(insert(SyncRun).values(**run))
    assert "Importing 1,240 of about 3,900 objects from Stripe, 3 min left" in says("/customers")
    assert "No Stripe customer with @acme.com." in says(f"/customers/{row_id}", backfilled_at=NOW, caught_up_to=NOW)
    assert "Last word from Stripe" not in says("/customers")
    assert "Last word from Stripe 42 min ago" in says("/customers", caught_up_to=NOW - 42 * 60 - 20)
    lacking = says(f"/customers/{row_id}", missing_permissions='["prices", "rak_invoice_read", "rak_webhook_read"]')
    assert "Payment status is unknown; MRR of tiered prices is unknown. " in lacking
    assert "An admin can let the key read Invoices, Prices in Stripe's dashboard" in lacking
    assert "Last word from Stripe 42 min ago" in says("/customers", missing_permissions='["rak_webhook_read"]')
    revoked = says(f"/customers/{row_id}", state="disconnected", state_reason="The key was revoked.")
    assert "Stripe is disconnected 42 min ago The key was revoked. Figures stay as they were. " in revoked
    assert "No Stripe connection for staging" in says(f"/customers/{staging}")
    assert "No customer with “zzz” in name, domain or Stripe id" in says("/customers?q=zzz")


def test_without_a_connection_the_page_says_what_connecting_brings(csm: FlaskClient) -> None:
    assert "nothing is ever written to Stripe" in text_of(csm.get("/customers").get_data(as_text=True))


def test_an_unknown_figure_is_a_dash_with_its_reason_and_stays_out_of_the_total(app: Flask, csm: FlaskClient) -> None:
    with session_scope(services(app).database, write=True) as conn:
        row_id = add_customer(conn, "A", summary_of(mrr=None, flags=("mrr_unknown:missing_tiers",), plan_label="Pro"), now=NOW)
        add_customer(conn, "B", summary_of(mrr=5000), now=NOW)
    assert "$50 MRR · 1 with unknown MRR" in text_of(csm.get("/customers").get_data(as_text=True))
    assert "MRR unknown: a price has tiers we can't read." in text_of(csm.get(f"/customers/{row_id}").get_data(as_text=True))


def test_where_both_environments_hold_customers_production_is_meant_and_both_can_be_asked(app: Flask, csm: FlaskClient) -> None:
    with session_scope(services(app).database, write=True) as conn:
        add_customer(conn, "Prod", summary_of(mrr=100), now=NOW)
        add_customer(conn, "Stag", summary_of(mrr=100), now=NOW, environment="staging")
    for query, shown in (("", {"Prod"}), ("?environment=staging", {"Stag"}), ("?environment=all", {"Prod", "Stag"})):
        page = csm.get(f"/customers{query}").get_data(as_text=True)
        assert {name for name in ("Prod", "Stag") if f">{name}</a>" in page} == shown


def test_the_pages_of_the_list_show_every_customer_once(app: Flask, csm: FlaskClient) -> None:
    with session_scope(services(app).database, write=True) as conn:
        ids = seed_customers(conn, 120, now=NOW)
    seen: list[str] = []
    address: str | None = "/customers?sort=name"
    while address:
        page = csm.get(address).get_data(as_text=True)
        seen += re.findall(r'<tr id="c(\d+)"', page)
        following = re.search(r'<a href="([^"]+)" class="button" rel="next"', page)
        address = following[1].replace("&amp;", "&") if following else None
    assert sorted(map(int, seen)) == sorted(ids)


def test_a_poll_is_304_until_something_changes_and_then_brings_the_row_alone(app: Flask, csm: FlaskClient) -> None:
    database = services(app).database
    with session_scope(database, write=True) as conn:
        ids = seed_customers(conn, 30, now=NOW)
    page = csm.get("/customers").get_data(as_text=True)
    address, mark = poll_of(page)
    assert csm.get(address, headers={"If-None-Match": mark}).status_code == 304
    with session_scope(database, write=True) as conn:
        conn.execute(update(CustomerRow).where(CustomerRow.id == ids[3]).values(mrr=123456700))
        add_change(conn, ids[3], "mrr", "expansion", 1, 2, now=NOW, amount=1)
        fresh = add_customer(conn, "Newcomer", summary_of(mrr=5), now=NOW)
        add_change(conn, fresh, "plan", "changed", None, "x", now=NOW)
    changed = csm.get(address, headers={"If-None-Match": mark})
    assert changed.status_code == 200
    part = changed.get_data(as_text=True)
    assert re.findall(r'<tr id="c(\d+)" class="glow" hx-swap-oob', part) == [str(ids[3])]
    assert "$1,234,567" in part
    assert "1 changed: show" in part
    address, mark = poll_of(part)
    assert mark.strip('"') == changed.headers["ETag"].strip('"')
    assert csm.get(address, headers={"If-None-Match": mark}).status_code == 304


def poll_of(page: str) -> tuple[str, str]:
    """Where a page's poll goes, and the mark it sends."""
    found = re.search(r'id="live" hx-get="([^"]+)".*?If-None-Match": "(\\"[0-9a-f]+\\")"', page)
    assert found is not None
    return found[1].replace("&amp;", "&"), found[2].replace("\\", "")


def test_a_customers_poll_is_304_until_it_changes(app: Flask, csm: FlaskClient) -> None:
    with session_scope(services(app).database, write=True) as conn:
        row_id = add_customer(conn, "Acme", summary_of(mrr=100), now=NOW)
    address, mark = poll_of(csm.get(f"/customers/{row_id}").get_data(as_text=True))
    assert csm.get(address, headers={"If-None-Match": mark}).status_code == 304
    with session_scope(services(app).database, write=True) as conn:
        conn.execute(update(CustomerRow).where(CustomerRow.id == row_id).values(mrr=5500))
    answer = csm.get(address, headers={"If-None-Match": mark})
    assert answer.status_code == 200
    assert "$55" in answer.get_data(as_text=True)


@pytest.mark.parametrize(
    "query", ["shown=x", "shown=" + "9" * 5000, "since=-1", "since=1e9", "since=" + "9" * 60, "shown=1-zz,2-0"]
)
def test_a_poll_with_nonsense_in_it_is_answered(csm: FlaskClient, query: str) -> None:
    assert csm.get(f"/customers/live?{query}").status_code == 200


@pytest.mark.parametrize("query", ["sort=up", "status=late", "cursor=x", "environment=moon", "q=%00"])
def test_an_address_that_asks_for_what_there_is_not_is_told_so_with_a_way_back(csm: FlaskClient, query: str) -> None:
    answer = csm.get(f"/customers?{query}")
    assert answer.status_code == 422
    assert 'href="/customers"' in answer.get_data(as_text=True)


@only_sqlite
def test_a_wrong_status_is_named_as_it_stands_in_the_pages_address(csm: FlaskClient) -> None:
    said = text_of(csm.get("/customers?status=foo").get_data(as_text=True))
    assert "status: takes paid, past_due, failing, none" in said
    assert "payment_status" not in said


@only_sqlite
def test_static_files_are_compressed_and_kept_for_a_year_under_an_address_of_their_content(csm: FlaskClient) -> None:
    page = csm.get("/customers").get_data(as_text=True)
    total = len(page)
    for address in re.findall(r'(?:src|href)="(/static/[^"]+)"', page):
        answer = csm.get(address, headers={"Accept-Encoding": "gzip"})
        assert answer.headers["Content-Encoding"] == "gzip"
        assert "immutable" in answer.headers["Cache-Control"]
        assert gzip.decompress(answer.data) == csm.get(address, buffered=True).data
        total += len(answer.data)
    assert total < 60_000
    assert csm.get("/static/app.css?v=old", buffered=True).headers["Cache-Control"] == "no-cache"
    assert csm.get("/static/../services.py").status_code == 404
    assert csm.get("/static/nothing.js").status_code == 404


@time_machine.travel(NOW, tick=False)
@pytest.mark.fault("S21")
def test_the_admins_page_counts_outcomes_retries_events_and_shows_no_secret(
    app: Flask, admin: FlaskClient, connection_record: ConnectionRecord
) -> None:
    database = services(app).database
    event = {
        "connection_id": connection_record.id,
        "type": "invoice.paid",
        "created": NOW,
        "partition": 0,
        "received_ms": NOW * 1000,
        "status_ms": NOW * 1000,
        "body": b"{}",
    }
    with session_scope(database, write=True) as conn:
        ours = add_customer(conn, "Acme", summary_of(flags=("ambiguous",)), now=NOW)
        add_match(conn, connection_record.id, "cus_a", "matched", "domain", customer_id=ours, name="Acme")
        for number in range(60):
            add_match(
                conn, connection_record.id, f"cus_{number:03}", "unmatched", "no_customer_with_domain", email_domain="x.com"
            )
        for number, status in enumerate(("dead", "quarantined", "applied", "superseded")):
            conn.execute(insert(InboxEvent).values(event_id=f"evt_{number}", status=status, error="why", **event))
    page = admin.get("/admin/stripe").get_data(as_text=True)
    words = text_of(page)
    assert "1 matched 60 unmatched 0 skipped 1 ambiguous" in words
    assert "Pending events are tried again" not in words
    assert f"To run the import: python -m webhook_app backfill --connection {connection_record.id}" in words
    assert "0 pending 1 applied 1 superseded 0 ignored 1 quarantined 1 dead 4 in all" in words
    assert "evt_0" in words
    assert connection_record.public_id in page
    for secret in ("rk_live_", "whsec_", "_sealed"):
        assert secret not in page
    following = re.search(r'href="([^"#]+)#outcomes" rel="next"', page)
    assert following is not None
    rest = admin.get(following[1].replace("&amp;", "&")).get_data(as_text=True)
    assert len(re.findall(r"<td><code>cus_\d+", page)) == 50
    assert len(re.findall(r"<td><code>cus_\d+", rest)) == 10
    assert admin.post("/admin/stripe/retry", data={"csrf": form_token(admin.get("/admin/stripe"))}).status_code == 303
    with session_scope(database) as conn:
        assert sorted(conn.execute(select(InboxEvent.status)).scalars()) == ["applied", "pending", "pending", "superseded"]
        assert "events_retried" in list(conn.execute(select(AuditEntry.action)).scalars())
    assert "No event is in trouble." in text_of(admin.get("/admin/stripe").get_data(as_text=True))
    with session_scope(database, write=True) as conn:
        conn.execute(update(InboxEvent).where(InboxEvent.event_id == "evt_1").values(error="Stripe didn't answer"))
    waits = text_of(admin.get("/admin/stripe").get_data(as_text=True))
    assert "evt_1 invoice.paid pending 0 s ago Stripe didn't answer Pending events are tried again by themselves." in waits


@pytest.mark.fault("S52")
@only_sqlite
def test_an_error_of_ours_shows_an_id_and_nothing_else(app: Flask, csm: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from webhook_app.ui import lists

    def broken(*_args: object, **_more: object) -> None:
        raise RuntimeError("canary sk_live_1234")

    monkeypatch.setattr(lists, "load_page", broken)
    answer = csm.get("/customers")
    page = answer.get_data(as_text=True)
    assert answer.status_code == 500
    assert "canary" not in page
    assert "Traceback" not in page
    assert re.search(r"<code>[0-9a-f]{12}</code>", page)
