"""What each thing the readers of a backfill bring means for the mirror and for the run's cursor."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from models.errors import StripeKeyRefused, StripeNotFound, StripePermissionMissing, StripeTrouble
from models.store.connections import record_permissions
from models.store.mirror import Key, load_known
from models.store.session import session_scope
from workers.backfill_writer import Row, Writer
from workers.needs import PERMISSION_OF
from workers.ordering import ReadBounds
from workers.stripe_api import StripeApi
from workers.stripe_objects import rows_of
from workers.walk_readers import INVOICES_OF, Broken, Denied, Fetched, Item, Page, WalkReaders
from workers.walks import Plan, Step

BELIEVED_MS = 60_000
"""A 404 is believed the second time, so long after the first, while the account answers otherwise (FAULTS F69)."""
_REFERENCES = ("price", "product", "coupon")


@dataclass(slots=True)
class Batch:
    """What goes into one transaction: objects, steps of the walks, and wanted objects that are settled by it."""

    rows: list[Row] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    settled: set[Key] = field(default_factory=set)


class Pages:
    """Takes what the readers bring, in the order in which it comes. `readers` is set before the first `take`."""

    readers: WalkReaders

    def __init__(self, writer: Writer, plan: Plan, api: StripeApi) -> None:
        self._writer, self._plan, self._api = writer, plan, api
        self._payments: dict[str, list[bytes]] = {}
        self._payments_since: ReadBounds | None = None

    def take(self, items: Sequence[Item]) -> None:
        """Write what these items mean, in one transaction where they are pages and objects.

        Raises:
            StripeTrouble: nothing can be read any more, or a list without which there is no sync.
        """
        batch = Batch()
        for item in items:
            if isinstance(item, Page):
                self._page(batch, item)
            elif isinstance(item, Fetched) and item.read is not None:
                self._fetched(batch, item)
            else:
                self._write(batch)
                batch = Batch()
                self._trouble(item)
        self._write(batch)

    def _write(self, batch: Batch) -> None:
        """One transaction: the objects, and where the run stands with them."""
        if not batch.steps and not batch.settled:
            return
        gone = {_name(key) for key in batch.settled}
        missing = {name: since for name, since in self._writer.run.cursor["missing"].items() if name not in gone}

        def moves(more: set[Key]) -> dict[str, Any]:
            wanted = sorted(more | (self.readers.wanted.keys() - batch.settled))
            return {"walks": self._plan.to_json(batch.steps), "wanted": wanted, "missing": missing}

        again = self._writer.apply(batch.rows, moves)
        for step in batch.steps:
            self._plan.commit(step)
        for key in batch.settled:
            self.readers.settled(key)
        self.readers.want(sorted(again))

    # --- lists ---------------------------------------------------------------------------------------

    def _page(self, batch: Batch, page: Page) -> None:
        rows = rows_of(page.read)
        step = Step(page.walk, page.window, len(rows), page.following, page.last)
        if page.walk.in_memory:
            self._keep_payments(rows, page.bounds)
            self._plan.commit(step)
            return
        batch.steps.append(step)
        for row in rows:
            batch.rows.extend(self._entries(row, page.bounds))

    def _keep_payments(self, rows: list[dict[str, Any]], bounds: ReadBounds) -> None:
        """Open payments by invoice: what no list of invoices shows of a bank debit under way (STRIPE 2.4)."""
        self._payments_since = self._payments_since or bounds
        for row in rows:
            invoice = row.get("invoice")
            if isinstance(invoice, str):
                kept = {name: row.get(name) for name in ("id", "object", "status", "is_default", "created", "payment")}
                self._payments.setdefault(invoice, []).append(msgspec.json.encode(kept))

    def _entries(self, row: dict[str, Any], bounds: ReadBounds) -> list[Row]:
        """A listed object and the invoice inside it, each with the bounds of everything it is made of."""
        if row.get("object") == "invoice":
            return [Row(row, self._with_payments(row, bounds))]
        invoice = row.get("latest_invoice") if row.get("object") == "subscription" else None
        if not isinstance(invoice, dict):
            return [Row(row, bounds)]
        return [Row(row, bounds), Row(invoice, self._with_payments(invoice, bounds))]

    def _with_payments(self, invoice: dict[str, Any], bounds: ReadBounds) -> ReadBounds:
        since = self._payments_since
        kept = self._payments.get(str(invoice.get("id")))
        if kept is None or since is None or invoice.get("status") != "open" or invoice.get("payments"):
            return bounds
        invoice["payments"] = {"object": "list", "has_more": False, "data": [msgspec.json.decode(entry) for entry in kept]}
        low = None if since.lo_ms is None or bounds.lo_ms is None else min(since.lo_ms, bounds.lo_ms)
        return ReadBounds(low, bounds.hi_ms if low is not None else None, min(since.cover_seq, bounds.cover_seq))

    # --- objects -------------------------------------------------------------------------------------

    def _fetched(self, batch: Batch, fetched: Fetched) -> None:
        assert fetched.read is not None  # noqa: S101 - `take` looked
        batch.settled.add(fetched.key)
        if fetched.key[0] == INVOICES_OF:
            batch.rows.extend(Row(row, fetched.bounds) for row in rows_of(fetched.read))
        else:
            batch.rows.append(Row(fetched.read.data, fetched.bounds, listed=False))

    # --- trouble -------------------------------------------------------------------------------------

    def _trouble(self, item: Item) -> None:
        if isinstance(item, Fetched):
            self._not_fetched(item)
        elif isinstance(item, Denied):
            self._denied(item)
        elif isinstance(item, Broken):
            raise item.error

    def _denied(self, denied: Denied) -> None:
        """A list that the key may not read: without customers or subscriptions there is no sync, the rest runs (F68)."""
        if denied.walk.essential:
            raise denied.error
        if self._plan.denied(denied.walk.name):
            return
        self._plan.deny(denied.walk, str(denied.error))
        permission = denied.error.permission or PERMISSION_OF.get(denied.walk.object_type, "rak_invoice_read")
        self._lack(permission, f"{denied.walk.name} can't be read, what needs them stays unknown: {denied.error}")

    def _lack(self, permission: str, problem: str) -> None:
        self._writer.lack({permission})
        lacking = sorted({*self._writer.run.cursor["lacking"], permission})
        self._writer.log({None: problem}, lacking=lacking, walks=self._plan.to_json())
        with self._writer.writing() as connection:
            record_permissions(connection, self._writer.record.id, self._writer.record.missing_permissions)

    def _not_fetched(self, fetched: Fetched) -> None:
        key, error = fetched.key, fetched.error
        if isinstance(error, StripeKeyRefused):
            raise error
        if isinstance(error, StripeNotFound):
            self._not_found(key, fetched.bounds)
            return
        if isinstance(error, StripePermissionMissing):
            self._lack(error.permission or PERMISSION_OF.get(key[0], "rak_invoice_read"), str(error))
        else:
            self._writer.log({key[1]: str(error)})
        self._settle(key)

    def _settle(self, key: Key, **moves: Any) -> None:
        with self._writer.writing(wanted=sorted(self.readers.wanted.keys() - {key}), **moves):
            pass
        self.readers.settled(key)

    def _not_found(self, key: Key, bounds: ReadBounds) -> None:
        """404. A price, product or coupon that we only know by name is gone; anything else is believed the second time."""
        now_ms = self._writer.now_ms()
        since = self._writer.run.cursor["missing"].get(_name(key))
        with session_scope(self._writer.database) as connection:
            held = key[0] != INVOICES_OF and load_known(connection, self._writer.record.id, [key])
        believed = since is not None and now_ms - since >= BELIEVED_MS and self._alive()
        if (key[0] in ("product", "coupon") and not held) or (held and believed):
            gone = {"id": key[1], "object": key[0], "deleted": True}
            self._write(Batch([Row(gone, bounds, listed=False)], settled={key}))
            return
        if key[0] in _REFERENCES:
            self._settle(key)
            return
        self._writer.log({key[1]: "Stripe doesn't know this object (404); asked again in the next run"})
        self._settle(key, missing={**self._writer.run.cursor["missing"], _name(key): since or now_ms})

    def _alive(self) -> bool:
        """Whether the account answers this key at all: one of the wrong mode gets 404 for everything."""
        try:
            return bool(rows_of(self._api.read("/v1/customers", {"limit": 1}, "probe")))
        except StripeTrouble:
            return False


def _name(key: Key) -> str:
    return f"{key[0]}:{key[1]}"
