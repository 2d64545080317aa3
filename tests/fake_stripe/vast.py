"""A Stripe account of any size whose objects are made when they are asked for: a start of a second, a few megabytes.

What is kept is one number for each object, in the order of lists. An account that is changed is made for good (`touch`).
"""

import random
from array import array
from collections.abc import Callable
from functools import cached_property

from tests.fake_stripe.expand import Tree
from tests.fake_stripe.generate_catalog import Catalog, make_catalog
from tests.fake_stripe.moulds import Moulds, flat
from tests.fake_stripe.names import Company
from tests.fake_stripe.records import Coupon, Price, Product, Record
from tests.fake_stripe.render import Context
from tests.fake_stripe.state import State
from tests.fake_stripe.vast_collection import VastCollection
from tests.fake_stripe.vast_plan import BILLS, DAY, NAMES, Ids, Kind, Own, Plan
from tests.fake_stripe.vast_records import Bundle, Maker
from tests.fake_stripe.versions import TIERS_BY_EXPAND

YEARS = 3
KEPT = 2000  # accounts that were looked at last
SLOTS = 4  # places in a number for each account
PACK = 32
STATUS = {"failing": "past_due", "action": "past_due", "trial": "trialing", "canceled": "canceled"}
OPEN = frozenset({"failing", "action", "processing", "overdue"})
OBJECTS_EACH = 3.85
SEEDED = 1 << PACK  # whatever is made later comes after what was there, within a second too


class Vast:
    """The account. `companies`, `catalog` and `rng` as a `Generator` has them."""

    def __init__(self, state: State, accounts: int, *, seed: int = 1) -> None:
        self.state = state
        self.rng = random.Random(seed)
        self.now = state.clock.now()
        self.catalog: Catalog = make_catalog(state, self.now - YEARS * 365 * DAY)
        self.plan = Plan(seed, accounts, self.now, YEARS)
        self.maker = Maker(state, self.catalog, self.now)
        self.touched: set[int] = set()
        self._bundles: dict[int, Bundle] = {}
        self._moulds: dict[tuple[str, str, int, int, int, str], Moulds] = {}
        for kind, numbers in self._numbers().items():
            state.collections[kind] = VastCollection(self, kind, numbers)
        state.start_after(SEEDED, self)

    @cached_property
    def companies(self) -> list[Company]:
        """All companies, by number."""
        found = (self.plan.who(k) for k in range(self.plan.accounts))
        return [one for one in found if one is not None]

    def _numbers(self) -> dict[str, array]:
        """For each kind the objects in the order of lists: when, which account, which of its invoices."""
        found: dict[str, list[int]] = {"customer": [], "subscription": [], "invoice": [], "paid": []}
        for k in range(self.plan.accounts):
            created, begun, start, end = self.plan.times(k)
            found["customer"].append(created << PACK | k * SLOTS)
            bills = self.plan.bills(k, begun, start, end)
            if bills:
                found["subscription"].append(begun << PACK | k * SLOTS)
            invoices = [(start - n * (end - start)) << PACK | k * SLOTS | bills - 1 - n for n in range(bills)]
            found["invoice"] += invoices
            if NAMES[self.plan.profiles[k]] != "trial":
                found["paid"] += invoices
        for numbers in found.values():
            numbers.sort()
        paid = array("Q", found.pop("paid"))
        return {name: array("Q", one) for name, one in found.items()} | {"invoice_payment": paid, "payment_intent": paid}

    # --- one account ----------------------------------------------------------------------------------

    def _look(self, k: int) -> tuple[Kind, Own, Ids]:
        who, times, ids = self.plan.who(k), self.plan.times(k), self.plan.ids(k)
        kind = self.plan.kind(k, who, times)
        return kind, self.plan.own(k, ids, who, times, kind.bills), ids

    def bundle(self, k: int) -> Bundle:
        """Its records: made anew unless they were looked at lately."""
        found = self._bundles.get(k)
        if found is None:
            kind, own, ids = self._look(k)
            found = self.maker.bundle(kind, own, [self.plan.bill(ids, slot, own, kind.bills) for slot in range(kind.bills)])
            for _, slot, record in found.by_kind():
                record.seq = k * SLOTS | slot
            if len(self._bundles) >= KEPT:
                del self._bundles[next(iter(self._bundles))]
            self._bundles[k] = found
        return found

    def record(self, kind: str, number: int) -> Record | None:
        """One object."""
        k, slot = divmod(number, SLOTS)
        return next((one for name, n, one in self.bundle(k).by_kind() if name == kind and n == slot), None)

    def number_of(self, kind: str, id_: str) -> int | None:
        """The number behind an id, if there is such an object."""
        found = self.plan.account_of(kind, id_)
        if found is None:
            return None
        number = found[0] * SLOTS | found[1]
        return None if self.record(kind, number) is None else number

    def status(self, kind: str, number: int) -> str:
        """The status of an object that hasn't been touched."""
        k, slot = divmod(number, SLOTS)
        profile = NAMES[self.plan.profiles[k]]
        if kind == "subscription":
            return STATUS.get(profile, "active")
        newest = slot == self.plan.bills(k, *self.plan.times(k)[1:]) - 1
        if not newest or (profile not in OPEN and profile != "uncollectible"):
            return "paid"
        return "open" if profile in OPEN or kind == "invoice_payment" else "uncollectible"

    def numbers_of(self, kind: str, owner: str) -> list[int]:
        """An owner's objects, oldest first; an owner is a customer, or an invoice of payments."""
        if kind == "invoice_payment":
            found = self.number_of("invoice", owner)
            return [] if found is None or self.record(kind, found) is None else [found]
        account = self.plan.account_of("customer", owner)
        if account is None or kind == "customer":
            return []
        return [account[0] * SLOTS | slot for slot in range(BILLS) if self.record(kind, account[0] * SLOTS | slot)]

    # --- changes --------------------------------------------------------------------------------------

    def touch(self, record: Record | str) -> None:
        """Something of this account is about to change: it is made for good. A change of the catalogue breaks all moulds."""
        if isinstance(record, Price | Product | Coupon):
            self._moulds.clear()
            return
        id_ = record if isinstance(record, str) else record.id
        for kind in ("customer", "subscription", "invoice", "invoice_payment", "payment_intent"):
            found = self.plan.account_of(kind, id_)
            if found is not None:
                self._make_for_good(found[0])
                return

    def _make_for_good(self, k: int) -> None:
        if k in self.touched:
            return
        self.touched.add(k)
        bundle = self.bundle(k)
        del self._bundles[k]
        for kind, slot, record in bundle.by_kind():
            self.state.of(kind).adopt(k * SLOTS | slot, record)
        for item in bundle.subscription.items if bundle.subscription else ():
            self.state.items[item.id] = item.subscription

    def subscription_of(self, item: str) -> str | None:
        """Whose item this is."""
        found = self.plan.account_of("subscription_item", item[:-1] + "A")
        return None if found is None else self.plan.id("subscription", found[0])

    # --- answers --------------------------------------------------------------------------------------

    def caster(self, kind: str, ctx: Context, tree: Tree) -> Callable[[int], bytes] | None:
        """How untouched objects are answered; None: they have to be rendered (as of a moment; customers that hold
        subscriptions)."""
        wanted = repr(tree)
        if ctx.as_of is not None or ctx.v < TIERS_BY_EXPAND or "subscriptions" in wanted:
            return None
        key = (kind, ctx.version, ctx.items, ctx.lines, ctx.payments, wanted)
        moulds = self._moulds.get(key)
        if moulds is None:
            moulds = self._moulds[key] = Moulds(self.maker.bundle, ctx, tree, kind)

        def cast(number: int) -> bytes:
            k, slot = divmod(number, SLOTS)
            kind, own, ids = self._look(k)
            mould = moulds.of(kind, slot)
            bills = [self.plan.bill(ids, n, own, kind.bills) if n in mould.bills else None for n in range(kind.bills)]
            return mould.cast(flat(own, bills))

        return cast


def large(state: State, objects: int, *, seed: int = 1) -> Vast:
    """About `objects` of customers, subscriptions and invoices together: nearly four for each account."""
    return Vast(state, max(1, round(objects / OBJECTS_EACH)), seed=seed)
