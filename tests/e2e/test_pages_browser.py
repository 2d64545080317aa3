"""The pages in a real browser: clean console, no other host, keyboard, live updates, both themes, all widths, no script."""

import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server

from models.settings import AppSettings
from models.store.session import session_scope
from tests.support import missing, only_sqlite
from tests.support.browsing import PASSWORD, add_user
from tests.support.seeds import add_change, add_customer, seed_customers, summary_of
from webhook_app.factory import create_app
from webhook_app.services import services

pytestmark = [pytest.mark.browser, only_sqlite]
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
NOW = int(time.time())
PATIENCE = 30_000  # ms until we give up; nothing is asserted about how much sooner it is


def shows(locator: Any) -> Any:
    """Playwright's `expect` with our patience: a click ends before the page that it opens is there, so no test looks once."""
    from playwright.sync_api import expect

    expect.set_options(timeout=PATIENCE)
    return expect(locator)


def chromium() -> str:
    """Where the browser is: `CHROMIUM`, else on the path."""
    named = os.environ.get("CHROMIUM")
    found = named or next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    if found is None:
        missing("no Chromium: install Debian's chromium or set CHROMIUM")
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("no playwright: install the development packages")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), headless=True, args=FLAGS.split())
        yield browser
        browser.close()


class Site:
    """The application served on loopback, with customers in it."""

    def __init__(self, settings: AppSettings) -> None:
        self.app = create_app(settings)
        self.database = services(self.app).database
        for email, role in (("dana@example.com", "admin"), ("carl@example.com", "csm")):
            add_user(self.app, email, role, NOW)
        with session_scope(self.database, write=True) as conn:
            self.ids = seed_customers(conn, 70, now=NOW)
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
                flags=("ambiguous",),
            )
            self.acme = add_customer(conn, "Acme Corp", summary, now=NOW, domain="acme.com")
        self.server = make_server("127.0.0.1", 0, self.app, threaded=True)
        self.base = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
        self.database.dispose()

    def change(self, customer: int, **values: Any) -> None:
        """What a worker does: new figures and a change row, in one transaction."""
        from sqlalchemy import update

        from models.tables import CustomerRow

        with session_scope(self.database, write=True) as conn:
            conn.execute(update(CustomerRow).where(CustomerRow.id == customer).values(**values))
            add_change(conn, customer, "mrr", "expansion", 1, 2, now=NOW, amount=1)


@pytest.fixture
def site(settings: AppSettings) -> Iterator[Site]:
    site = Site(settings)
    yield site
    site.stop()


class Visit:
    """One reader's window; what went wrong in it is kept."""

    def __init__(self, browser: Any, site: Site, **options: Any) -> None:
        self.context = browser.new_context(base_url=site.base, **options)
        self.page = self.context.new_page()
        self.trouble: list[str] = []
        self.page.set_default_timeout(PATIENCE)
        self.page.on("console", lambda message: self.trouble.append(message.text))
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("request", lambda request: request.url.startswith(site.base) or self.trouble.append(request.url))

    def sign_in(self, email: str = "carl@example.com") -> Any:
        page = self.page
        page.goto("/sign-in")
        page.fill("#email", email)
        page.fill("#password", PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url("**/customers")
        return page

    def close(self) -> None:
        self.context.close()


@pytest.fixture
def visit(browser: Any, site: Site) -> Iterator[Visit]:
    visit = Visit(browser, site)
    yield visit
    visit.close()


@pytest.mark.fault("S41")
def test_no_page_complains_in_the_console_or_asks_another_host(visit: Visit, site: Site) -> None:
    page = visit.sign_in("dana@example.com")
    for path in ("/customers", "/customers?status=failing&sort=name", f"/customers/{site.acme}", "/customers?q=zzz"):
        with page.expect_response(lambda answer: "/live" in answer.url) as poll:
            page.goto(path)
        assert poll.value.status == 304, "nothing changed since the page was drawn"
    page.goto("/admin/stripe")
    assert visit.trouble == []


def test_a_change_shows_in_its_row_which_keeps_its_place_and_others_wait_to_be_shown(visit: Visit, site: Site) -> None:
    page = visit.sign_in()
    order = page.eval_on_selector_all("tbody tr", "rows => rows.map(row => row.id)")
    shown, elsewhere = int(order[7][1:]), next(number for number in site.ids if f"c{number}" not in order)
    site.change(shown, mrr=123456700)
    site.change(elsewhere, mrr=5)
    page.wait_for_selector(f"#c{shown}.glow td.num:has-text('$1,234,567')")
    assert page.eval_on_selector_all("tbody tr", "rows => rows.map(row => row.id)") == order
    page.click("#news a:has-text('1 changed: show')")
    page.wait_for_selector(f"tbody tr:first-child#c{shown}")
    assert visit.trouble == []


def test_the_open_page_of_a_customer_follows_its_figures(visit: Visit, site: Site) -> None:
    page = visit.sign_in()
    page.goto(f"/customers/{site.acme}")
    assert page.title() == "Acme Corp - Plan: Growth, MRR $1,400, payment failing"
    site.change(site.acme, mrr=200000, payment_status="paid")
    page.wait_for_selector("[data-live=mrr]:has-text('$2,000')")
    shows(page.locator("[data-live=status]")).to_have_text("Paid")
    assert visit.trouble == []


def test_the_keyboard_alone_finds_and_opens_a_customer(visit: Visit, site: Site) -> None:
    page = visit.sign_in()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "q"
    page.keyboard.type("acme.com")
    page.wait_for_url("**q=acme.com**")  # on a slow machine a part of the word is searched first
    shows(page.locator("tbody tr")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.textContent") == "Acme Corp"
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/customers/{site.acme}")
    page.goto("/customers")
    for key in ("ArrowDown", "j", "ArrowDown", "k", "ArrowUp"):
        page.keyboard.press(key)
    assert page.evaluate("document.activeElement === document.querySelector('tbody a.name')")
    assert visit.trouble == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 800, 1440])
def test_no_page_is_wider_than_the_window_and_text_stands_out(browser: Any, site: Site, scheme: str, width: int) -> None:
    visit = Visit(browser, site, color_scheme=scheme, viewport={"width": width, "height": 800})
    page = visit.sign_in("dana@example.com")
    for path in ("/customers", f"/customers/{site.acme}", "/admin/stripe", "/customers?status=failing"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        assert page.evaluate(CONTRAST) == [], path
    assert visit.trouble == []
    visit.close()


# Every text at 4.5:1 against what it stands on (large text too, which needs less).
CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgb = colour => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return Array.from(canvas.getImageData(0, 0, 1, 1).data); };
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = node => { for (; node; node = node.parentElement) {
    const found = rgb(getComputedStyle(node).backgroundColor); if (found[3] === 255) return found; }
    return [255, 255, 255, 255]; };
  const bad = [];
  for (const node of document.querySelectorAll('body *')) {
    if (node.closest('svg') || !node.checkVisibility() || !node.offsetWidth) continue;
    const own = Array.from(node.childNodes).filter(child => child.nodeType === 3);
    if (!own.some(child => child.textContent.trim())) continue;
    if (node.getAnimations().length) continue;
    const [one, other] = [light(rgb(getComputedStyle(node).color)), light(ground(node))].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio < 4.5) bad.push(node.className + ': ' + node.textContent.trim().slice(0, 20));
  }
  return bad; }"""


def test_the_theme_switch_goes_round_and_is_remembered(visit: Visit) -> None:
    page = visit.sign_in()
    seen = []
    for _ in range(3):
        page.click("[data-theme-switch]")
        seen.append(page.evaluate("document.documentElement.dataset.theme || 'system'"))
    assert seen == ["light", "dark", "system"]
    page.click("[data-theme-switch]")
    page.click("[data-theme-switch]")
    page.reload()
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"


def test_without_script_one_can_sign_in_search_filter_page_read_and_leave(browser: Any, site: Site) -> None:
    visit = Visit(browser, site, java_script_enabled=False)
    page = visit.sign_in()
    page.click("text=Next 50")
    page.wait_for_url("**cursor=**")
    shows(page.locator("tbody tr")).to_have_count(21)
    page.goto("/customers")
    page.fill("input[name=q]", "acme.com")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=acme.com**")
    page.click("text=Acme Corp")
    page.wait_for_url(f"**/customers/{site.acme}")
    shows(page.locator("h2", has_text="Explain this MRR")).to_be_visible()
    page.click("button[title='Sign out']")
    page.wait_for_url("**/sign-in")
    visit.close()


def test_a_session_that_ends_under_an_open_page_leads_to_sign_in_and_back(visit: Visit, site: Site) -> None:
    page = visit.sign_in()
    page.goto("/customers?status=failing")
    with sqlite3.connect(Path(str(site.database.url.database)), timeout=5) as raw:
        raw.execute("UPDATE sessions SET ended_at = 1")
    page.wait_for_url("**/sign-in?next=/customers**")
    page.fill("#email", "carl@example.com")
    page.fill("#password", PASSWORD)
    page.click("text=Sign in >> nth=-1")
    page.wait_for_url("**/customers?status=failing")


@pytest.mark.fault("S44")
def test_a_name_with_markup_runs_nothing_in_the_browser(visit: Visit, site: Site) -> None:
    name = "<img src=x onerror=\"document.title='pwned'\"><script>document.title='pwned'</script>"
    with session_scope(site.database, write=True) as conn:
        row_id = add_customer(conn, name, summary_of(mrr=10**9, plan_label=name), now=NOW, domain=name)
    page = visit.sign_in()
    shows(page.locator(f"#c{row_id} a.name")).to_have_text(name)
    site.change(row_id, mrr=10**9 + 100)
    page.wait_for_selector(f"#c{row_id}.glow")
    page.goto(f"/customers/{row_id}")
    shows(page.locator("main h1")).to_have_text(name)
    assert page.locator("main img, main script").count() == 0
    assert "pwned'" in page.title()
    assert visit.trouble == []
