"""Hostile objects all the way into a database: as events through inbox and drain, as answers to the reads that follow, as a
page of a backfill, and out again through the read model, the API and the pages.

An input is a JSON list of Stripe objects. Stripe, asked for one of them, answers with it; for everything else it says 404.
"""

import json
import random
import re
import time
from typing import Any

import msgspec
from sqlalchemy import event

from models.errors import StripeNotFound
from models.settings import AppSettings
from models.store import bulk, customers, fx, inbox, readmodel
from models.store.connections import NewConnection, create_connection, load_connection
from models.store.keys import Keyring
from models.store.logs import set_up_logs
from models.store.session import Database, session_scope
from models.stripe_reader.fields import reference
from tests.fuzz import huge
from tests.fuzz.seeds import compact, families
from tests.fuzz.sources import JsonSource
from tests.fuzz.spans import Template
from tests.support.browsing import add_user, as_user
from tests.support.environment import API_KEY, WEBHOOK_SECRET
from webhook_app.connection_cache import Known
from webhook_app.factory import create_app
from webhook_app.receive import read_event
from webhook_app.services import services
from workers import recompute
from workers.apply import apply_reads
from workers.drain import Drainer, Tools
from workers.ordering import ReadBounds
from workers.reading import Answer, Readers, Want
from workers.stripe_http import read_json
from workers.stripe_objects import Read

NOW = 1_795_000_000
_KEPT = frozenset([
    "connections", "customers", "customer_hosts", "fx_rates", "app_state", "alembic_version", "users", "sessions",
])  # fmt: skip
_ENCODER = msgspec.json.Encoder(decimal_format="number")
_CLASS = re.compile(r"[A-Z][A-Za-z]*")  # an error that has no words of its own: the name of an exception
_VERBS = ("updated", "created", "deleted")
_FAMILIES = {"subscription": "customer.subscription", "discount": "customer.discount", "plan": "price"}
_DOMAINS = ("acme.com", "northwind.example", "gmail.com")


def relax(database: Database) -> None:
    """Nobody's data: nothing of it needs to be on disk."""
    if database.on_sqlite:
        event.listen(database.engine, "connect", lambda dbapi, _: dbapi.execute("PRAGMA synchronous=OFF").close())
        database.dispose()  # what is open already is opened anew


class NoBell:
    """Nobody is rung for: the target drains by itself."""

    def wake(self, _partitions: object) -> bool:
        """Not needed."""
        return True

    def rung(self) -> set[int]:
        """Nothing."""
        return set()

    def look(self, _held: object, _count: int) -> tuple[bool, set[int]]:
        """Never set."""
        return False, set()

    def worker_count(self) -> int:
        """Alone."""
        return 1


class Echoes(Readers):
    """Stripe answers with the hostile objects themselves."""

    objects: dict[tuple[str, str], dict[str, Any]]

    def want(self, want: Want) -> None:
        """Answered when somebody looks."""
        self.in_flight.add((want.connection_id, want.key))
        self._wanted = [*getattr(self, "_wanted", []), want]

    def answers(self, wait_s: float = 0.0) -> list[Answer]:
        """All at once."""
        wanted, self._wanted = getattr(self, "_wanted", []), []
        self.in_flight.clear()
        return [self._echo(want) for want in wanted]

    def _echo(self, want: Want) -> Answer:
        data = self.objects.get(want.key)
        if data is None:
            return Answer(want, error=StripeNotFound("no such object"), account_alive=True)
        lo_ms = NOW * 1000
        return Answer(want, Read(data, lo_ms, lo_ms + 1000), ReadBounds(lo_ms, lo_ms + 1000, 2**40, None))


class StoredTarget:
    """`workers.apply`, `.recompute` and `models.store` on a real database."""

    name = "stored"
    watched = ("models/store", "workers")  # the rest has targets of its own, and its corpus would make this one large

    def __init__(self, database: Database, settings: AppSettings, keyring: Keyring) -> None:
        set_up_logs("ERROR")
        self._database = database
        relax(database)
        settings = settings.model_copy(update={"partitions": 1})
        self._tools = Tools(settings, database, NoBell(), keyring, now_ms=lambda: NOW * 1000)  # type: ignore[arg-type]
        self._echoes = Echoes(database, keyring, settings)
        self._tools.readers = self._echoes
        self._begin(keyring)
        app = create_app(settings.model_copy(update={"log_level": "ERROR"}))
        now = int(time.time())  # sign-in sessions go by the wall clock
        self._browser = as_user(app, add_user(app, "csm@example.com", "csm", now), now)
        self._served = services(app).database

    def _begin(self, keyring: Keyring) -> None:
        """A live connection that matches by metadata too, customers of ours, and rates."""
        with session_scope(self._database, write=True) as connection:
            new = NewConnection("Live", "live", API_KEY, WEBHOOK_SECRET)
            self._record = create_connection(connection, keyring, new, NOW)
            stored = '{"metadata_key":"domain","subtract_once_discounts":true,"match_personal_emails":true}'
            bulk.run(connection, "UPDATE connections SET settings = ?, account_id = 'acct_1'", [stored])
            for domain in _DOMAINS:
                customers.import_customer(connection, {"name": domain, "domain": domain, "environment": "production"}, NOW)
            fx.save_rates(connection, "2026-11-01", "ecb", {"EUR": fx.Decimal("1.1172"), "JPY": fx.Decimal("0.0065")})
            fx.put_in_force(connection, "2026-11-01")
            self._record = load_connection(connection, self._record.id)
        self._known = Known(self._record.id, livemode=True, account_id="acct_1", secrets=())
        with session_scope(self._database) as connection:
            names = bulk.run(connection, _TABLES["sqlite" if self._database.on_sqlite else "postgresql"]).scalars().all()
        self._wiped = [name for name in names if name not in _KEPT and not name.startswith("sqlite_")]

    def source(self, rng: random.Random) -> JsonSource:
        """Mutated families of objects."""
        return JsonSource([Template(compact(one)) for one in families()], rng, noise=0.0, huge=[_huge], huge_one_in=200)

    def run(self, data: bytes) -> tuple[str, ...]:
        """How the events ended."""
        found = read_json(b'{"data":' + data + b"}")
        objects = [one for one in found["data"] if isinstance(one, dict)] if found and isinstance(found["data"], list) else []
        if not objects:
            return ("nothing to store",)
        self._wipe()
        self._echoes.objects = {(str(one.get("object")), reference(one) or ""): one for one in objects}
        words = self._deliver(data, objects)
        self._page(objects)
        self._look()
        return words

    def settle(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Let go of the database."""
        self._echoes.close()
        self._database.dispose()
        self._served.dispose()

    # --- the three ways in ---------------------------------------------------------------------------

    def _deliver(self, data: bytes, objects: list[dict[str, Any]]) -> tuple[str, ...]:
        """As events, until nothing is left that can be done now."""
        number = len(data)
        rows = [read_event(self._known, _event(one, at + number), NOW * 1000, 1) for at, one in enumerate(objects)]
        with session_scope(self._database, write=True) as connection:
            inbox.insert_events(connection, rows)
        Drainer(self._tools).run({0}, company_s=0.0, limit_s=60.0)
        with session_scope(self._database) as connection:
            ends = bulk.run(connection, "SELECT status, error FROM inbox").fetchall()
        for status, error in ends:
            assert status != "dead", "a dead event"
            assert not error or not _CLASS.fullmatch(error), f"an event that failed: {error}"
        self._recomputed()
        return tuple({f"event {status}" for status, _ in ends})

    def _page(self, objects: list[dict[str, Any]]) -> None:
        """As a page of a backfill."""
        bounds = ReadBounds(NOW * 1000 + 5000, NOW * 1000 + 6000, 2**40, None)
        with session_scope(self._database, write=True) as connection:
            applied = apply_reads(connection, self._record, objects, bounds, listed=True)
            recompute.recompute(connection, self._record, applied.touched, now=NOW, cause="backfill")
        self._recomputed()

    def _recomputed(self) -> None:
        """Every customer of ours can be computed."""
        with session_scope(self._database) as connection:
            ids = bulk.run(connection, "SELECT id FROM stripe_customers").scalars().all()
            ours = bulk.run(connection, "SELECT id FROM customers").scalars().all()
            loaded = recompute.load(connection, self._record, set(ids), customer_ids=set(ours))
        failed = recompute.compute(loaded, now=NOW, now_ms=NOW * 1000, cause="event").failed
        assert not failed, f"a customer that can't be computed: {sorted(set(failed.values()))}"

    def _look(self) -> None:
        """As pages and API see it."""
        with session_scope(self._database) as connection:
            rows, _ = readmodel.load_page(connection, readmodel.Filter(), "-mrr", None, 10, summaries=True)
            for row in rows:
                readmodel.load_customer_view(connection, row.id)
                readmodel.load_changes(connection, row.id, None, 50)
            readmodel.load_totals(connection, readmodel.Filter())
            readmodel.load_plan_labels(connection, None)
        told = [row.id for row in rows if row.stripe_customer_id]
        for path in ("/customers", *(f"{kind}/customers/{number}" for number in told for kind in ("", "/api/v1"))):
            status = self._browser.get(path).status_code
            assert status == 200, f"{status} for a page or an answer of the API"

    def _wipe(self) -> None:
        with session_scope(self._database, write=True) as connection:
            for name in self._wiped:
                bulk.run(connection, f"DELETE FROM {name}")
            bulk.run(
                connection,
                "UPDATE customers SET summary = NULL, plan = NULL, plan_label = NULL, mrr = 0, payment_status = 'none',"
                " billing_started_at = NULL, stripe_customer_id = NULL, flags = '[]', next_change_at = NULL, fx_date = NULL,"
                " ever_positive = (1 = 0), mirror_version = 0, computed_version = 0, recompute_cause = NULL, as_of = NULL",
            )
        self._tools.absorber.forget()


_TABLES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
    "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
}


def _event(data: dict[str, Any], number: int) -> bytes:
    """What Stripe would send of this object."""
    kind = str(data.get("object"))[:60]
    verb = _VERBS[number % 3]
    if kind == "invoice" and number % 5 == 0:
        verb = "payment_failed"
    event_type = "invoice_payment.paid" if kind == "invoice_payment" else f"{_FAMILIES.get(kind, kind)}.{verb}"
    head = {"id": f"evt_{number}", "object": "event", "type": event_type, "created": NOW - number % 7, "livemode": True,
            "api_version": "2026-10-28.endive"}  # fmt: skip
    return json.dumps({**head, "data": {"object": "@"}}).encode().replace(b'"@"', _plain(data))


def _plain(data: dict[str, Any]) -> bytes:
    """The object as JSON again; an exact number stays one."""
    return _ENCODER.encode(data)


def _huge(rng: random.Random) -> bytes:
    inner = rng.choice([huge.subscription, huge.invoice, huge.text])(rng)
    return b'[{"id":"cus_1","object":"customer","email":"a@acme.com"},' + inner + b"]"
