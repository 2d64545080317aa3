"""The whole way in one process, without HTTP and RQ: events go through the endpoint's reading into the inbox, the drain runs
as a worker would, and `expected` is what `explain` makes of Stripe's current objects."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from models.settings import AppSettings
from models.store import bulk, customers, fx, inbox
from models.store.connections import ConnectionRecord, NewConnection, create_connection
from models.store.keys import Keyring
from models.store.session import Database, session_scope
from tests.fake_stripe.server import FakeStripe
from tests.support.environment import WEBHOOK_SECRET
from webhook_app.connection_cache import Known
from webhook_app.explain import explain
from webhook_app.receive import read_event
from workers.drain import Drainer, Report, Tools
from workers.queue import Bell

FIELDS = (
    "plan", "plan_label", "mrr", "payment_status", "billing_started_at", "stripe_customer_id", "headline",
)  # fmt: skip


class Pipeline:
    """One connection to a fake Stripe. `now` is the fake's virtual clock, also ours."""

    def __init__(
        self, database: Database, settings: AppSettings, keyring: Keyring, fake: FakeStripe, *, api_base: str | None = None
    ) -> None:
        self.database, self.fake = database, fake
        self.tools = Tools(settings, database, Bell(settings.redis), keyring, now_ms=lambda: int(fake.clock.time() * 1000))
        mode = "live" if fake.state.livemode else "test"
        new = NewConnection(mode.title(), mode, fake.api_key, WEBHOOK_SECRET, api_base=api_base or fake.url)
        with session_scope(database, write=True) as connection:
            self.record: ConnectionRecord = create_connection(connection, keyring, new, fake.clock.now())
        self.partitions = settings.partition_count
        self.known = Known(self.record.id, self.record.livemode, None, ())

    def close(self) -> None:
        self.tools.readers.close()

    def add_customers(self, *domains: str) -> dict[str, int]:
        """Our customers by domain, in the environment of the connection's mode."""
        environment = "production" if self.record.livemode else "staging"
        with session_scope(self.database, write=True) as connection:
            for domain in domains:
                row = {"name": domain.partition(".")[0].title(), "domain": domain, "environment": environment}
                customers.import_customer(connection, row, self.fake.clock.now())
            rows = bulk.run(connection, "SELECT domain, id FROM customers").fetchall()
        return {row[0]: row[1] for row in rows}

    def receive(self, bodies: Iterable[bytes]) -> None:
        """Store events as the endpoint does, one by one."""
        for body in bodies:
            self.receive_together([body])

    def receive_together(self, bodies: Iterable[bytes]) -> None:
        """Store events as the endpoint does those that share a commit."""
        now_ms = self.tools.now_ms()
        rows = [read_event(self.known, body, now_ms, self.partitions) for body in bodies]
        with session_scope(self.database, write=True) as connection:
            inbox.insert_events(connection, rows)

    def drain(self, seconds: float = 20.0) -> Report:
        return Drainer(self.tools).run(set(range(self.partitions)), company_s=0.0, limit_s=seconds)

    def drain_all(self) -> Report:
        """Drain until nothing is pending, moving the clock on over holds and backoffs."""
        report = self.drain()
        for _ in range(20):
            with session_scope(self.database) as connection:
                if not inbox.count_pending(connection):
                    return report
            self.fake.clock.advance(65)
            more = self.drain()
            report.reads += more.reads
            report.recomputed += more.recomputed
            time.sleep(0.005)
        raise AssertionError(f"still pending: {self.problems()}")

    def problems(self) -> list[Any]:
        with session_scope(self.database) as connection:
            return [
                tuple(r)
                for r in bulk.run(
                    connection, "SELECT type, status, attempts, error FROM inbox WHERE status IN ('pending', 'dead')"
                ).fetchall()
            ]

    def counts(self) -> dict[str, int]:
        with session_scope(self.database) as connection:
            return inbox.count_by_status(connection)

    def stored(self) -> dict[str, dict[str, Any]]:
        """The read model by our customer's id."""
        return stored_figures(self.database)

    def expected(self) -> dict[str, dict[str, Any]]:
        """`explain` over Stripe's current objects with the mirror's kept keys."""
        return expected_figures(self.database, self.fake, self.fake.clock.now(), livemode=self.record.livemode)


def stored_figures(database: Database) -> dict[str, dict[str, Any]]:
    """The read model by our customer's id."""
    with session_scope(database) as connection:
        rows = bulk.run(connection, f"SELECT id, {', '.join(FIELDS)}, flags FROM customers ORDER BY id").fetchall()
    return {str(row[0]): {**dict(zip(FIELDS, row[1:-1], strict=True)), "flags": row[-1]} for row in rows}


def expected_figures(database: Database, fake: FakeStripe, now: int, **settings: Any) -> dict[str, dict[str, Any]]:
    """`explain` over Stripe's current objects, with the lookup keys that the mirror kept (Stripe has forgotten them)."""
    return explained_figures(database, fake.current_objects(), now, **settings)


def explained_figures(
    database: Database, objects: Mapping[str, list[Any]], now: int, **settings: Any
) -> dict[str, dict[str, Any]]:
    """`explain` over these Stripe objects (its lists by name) and our customers as they are stored. `settings` as it takes
    them, in live mode unless they say otherwise."""
    with session_scope(database) as connection:
        ours = [
            {"id": str(row[0]), "name": row[1], "domain": row[2], "aliases": msgspec.json.decode(row[3]),
             "environment": row[4]}
            for row in bulk.run(connection, "SELECT id, name, domain, aliases, environment FROM customers ORDER BY id")
        ]  # fmt: skip
        kept = dict(bulk.run(connection, "SELECT price_id, lookup_key FROM stripe_kept_lookup_keys").fetchall())
        table = fx.load_table(connection, fx.date_in_force(connection))
    settings = {"livemode": True} | settings
    document = {"now": now, "our_customers": ours, "kept_lookup_keys": kept, "settings": settings, **objects}
    if table.date is not None:
        document["fx"] = {"date": table.date, "usd_per": {code: str(rate) for code, rate in table.usd_per.items()}}
    found = explain(document)["customers"]
    return {
        one["id"]: {**{name: one[name] for name in FIELDS}, "flags": msgspec.json.encode(one["flags"]).decode()}
        for one in found  # type: ignore[attr-defined]
    }
