"""`backfill` as a user types it: what it prints, what it warns of, and how it ends."""

from collections.abc import Iterator

import pytest

from models.settings import AppSettings
from models.store.session import Database
from tests.fake_stripe.keys import ALL_READS
from tests.fake_stripe.server import FakeStripe
from tests.integration.test_cli import Done
from tests.support import only_sqlite
from tests.support.backfilled import fill

pytestmark = only_sqlite


@pytest.fixture
def fake() -> Iterator[FakeStripe]:
    with FakeStripe(seed=11) as fake:
        fill(fake)
        yield fake


@pytest.fixture
def connection(settings: AppSettings, database: Database, fake: FakeStripe) -> str:
    secrets = {"STRIPE_API_KEY": fake.api_key, "STRIPE_WEBHOOK_SECRET": fake.webhook_secret}
    done = Done(settings, "connect", "--name", "A", "--mode", "live", "--api-base", fake.url, **secrets)
    return str(done.json["connection_id"])


@pytest.mark.fault("F86")
def test_the_counts_are_printed_and_add_up(settings: AppSettings, connection: str) -> None:
    told = Done(settings, "backfill", "--connection", connection)
    assert (told.status, told.err) == (0, "reading …\nchecking …\nrecomputing …\n")
    assert told.out.startswith("backfill complete: ")
    again = Done(settings, "backfill", "--connection", connection, "--json")
    counts = again.json
    assert counts["matched"] + counts["unmatched"] + counts["skipped"] == counts["stripe_customers"] == 59
    for word in ("matched", "unmatched", "skipped", "ambiguous"):
        assert f"{word:<17} {counts[word]:>8}" in told.out


@pytest.mark.fault("F68")
def test_a_missing_permission_and_what_could_not_be_read_are_told(
    settings: AppSettings, connection: str, fake: FakeStripe
) -> None:
    fake.keys.find(f"Bearer {fake.api_key}").permissions = ALL_READS - {"rak_invoice_read"}
    done = Done(settings, "backfill", "--connection", connection)
    assert done.status == 0
    assert "warning: the key lacks rak_invoice_read: what depends on it stays unknown\n" in done.err
    assert "warning: the run: " in done.err


@pytest.mark.fault("F86")
def test_a_failed_run_says_why_once_and_not_with_status_0(settings: AppSettings, connection: str, fake: FakeStripe) -> None:
    fake.faults.order("status", status=401, count=None)
    done = Done(settings, "backfill", "--connection", connection, "--json")
    assert (done.status, done.json["state"]) == (1, "failed")
    assert done.err == f"error: backfill failed: {done.json['error']}\n"
    assert "401" in done.json["error"]
