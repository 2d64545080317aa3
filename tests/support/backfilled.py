"""What the tests of the backfill share: a generated account, our customers beside it, and a kill at any commit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from models.settings import AppSettings
from models.store import bulk
from models.store.session import session_scope
from tests.fake_stripe.generate import Generator, Shape
from tests.fake_stripe.server import FakeStripe
from tests.support.pipeline import Pipeline
from workers.backfill import RunResult, run_backfill
from workers.stripe_api import Patience

START = 1_790_000_000
QUICK = Patience(attempts=3, seconds=5.0, throttled_s=2.0)
SMALL = Shape(ours=40, unmatched=6, personal=5, no_email=2, collisions=3, subdomains=3)


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours may catch it."""


def lifted(settings: AppSettings) -> AppSettings:
    """The buckets lifted: most tests are about what is read, not how fast."""
    return settings.model_copy(update={name: 1e6 for name in AppSettings.model_fields if "calls_per_second" in name})


def fill(fake: FakeStripe, line: Pipeline | None = None, shape: Shape = SMALL, *, seed: int = 3) -> Generator:
    """Fill the fake account; most companies become customers of ours."""
    made = Generator(fake.state, shape, seed=seed)
    made.run()
    if line is not None:
        line.add_customers(*[company.domain for company in made.companies])
    return made


def backfill(line: Pipeline, **options: object) -> RunResult:
    """Run a backfill with the pipeline's parts and clock."""
    tools = line.tools
    options = {"now_ms": tools.now_ms, "patience": QUICK, **options}
    return run_backfill(tools.database, tools.keyring, tools.settings, line.record.id, **options)  # type: ignore[arg-type]


@contextmanager
def dies_at(monkeypatch: pytest.MonkeyPatch, name: str, hit: int) -> Iterator[None]:
    """Let the failpoint `name` kill at its `hit`-th time; `Killed` ends the block."""
    hits = 0

    def fp(at: str) -> None:
        nonlocal hits
        hits += at == name
        if at == name and hits == hit:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("workers.backfill_writer.fp", fp)
        patch.setattr("workers.backfill_stages.fp", fp)
        try:
            yield
        except Killed:
            return


def rows(line: Pipeline, sql: str, *values: object) -> list[tuple]:
    """What the database says."""
    with session_scope(line.database) as connection:
        return [tuple(row) for row in bulk.run(connection, sql, values).fetchall()]


def on_first(action: Callable[[], object], phase: str | None = None) -> Callable[[str, int, int | None], None]:
    """A progress callback that does something once, between two transactions of the run."""
    done = []

    def tell(at: str, _count: int, _expected: int | None) -> None:
        if not done and phase in (None, at):
            done.append(1)
            action()

    return tell
