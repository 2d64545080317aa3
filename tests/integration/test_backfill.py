"""Backfill of a generated account from the fake Stripe, on both databases: STRIPE 5.4, FAULTS F60, F65-F69, F72-F76, F86, F92."""

from collections.abc import Iterator

import pytest

from models.settings import AppSettings
from models.store.keys import Keyring
from models.store.session import Database
from tests.fake_stripe.clock import Clock
from tests.fake_stripe.generate import Generator, Shape
from tests.fake_stripe.server import FakeStripe
from tests.support.pipeline import Pipeline
from workers.backfill import RunResult, run_backfill
from workers.stripe_api import Patience

START = 1_790_000_000
QUICK = Patience(attempts=3, seconds=5.0, throttled_s=5.0)
SMALL = Shape(ours=40, unmatched=6, personal=5, no_email=2, collisions=3, subdomains=3)


@pytest.fixture
def fake() -> Iterator[FakeStripe]:
    with FakeStripe(seed=7, clock=Clock(START)) as fake:
        yield fake


@pytest.fixture
def fast(settings: AppSettings) -> AppSettings:
    """The buckets lifted: these tests are about what is read, not how fast."""
    return settings.model_copy(update={name: 1e6 for name in AppSettings.model_fields if "calls_per_second" in name})


@pytest.fixture
def pipeline(database: Database, fast: AppSettings, keyring: Keyring, fake: FakeStripe) -> Iterator[Pipeline]:
    line = Pipeline(database, fast, keyring, fake)
    yield line
    line.close()


def fill(fake: FakeStripe, shape: Shape = SMALL) -> Generator:
    made = Generator(fake.state, shape, seed=3)
    made.run()
    return made


def backfill(line: Pipeline, **options: object) -> RunResult:
    tools = line.tools
    options = {"now_ms": tools.now_ms, "patience": QUICK, **options}
    return run_backfill(tools.database, tools.keyring, tools.settings, line.record.id, **options)  # type: ignore[arg-type]


def test_a_backfill_gives_every_customer_what_explain_gives(pipeline: Pipeline, fake: FakeStripe) -> None:
    made = fill(fake)
    pipeline.add_customers(*[company.domain for company in made.companies])
    told: list[tuple[str, int, int | None]] = []
    result = backfill(pipeline, progress=lambda *step: told.append(step))
    assert (result.state, result.error, result.exit_code) == ("complete", None, 0)
    assert pipeline.stored() == pipeline.expected()
    counts = result.counts
    assert counts["matched"] + counts["unmatched"] + counts["skipped"] == counts["stripe_customers"] == 59
    print(result, fake.reads, told[:3], told[-3:])
