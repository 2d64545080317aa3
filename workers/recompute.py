"""Recompute: mirror -> `summarize` (pure) -> read model and change rows. Knows nothing of RQ, Redis, Stripe's SDK or Flask.

Three parts, so that the drain can compute outside its short write transaction: `load` (one read snapshot), `compute` (no
database), `save` (compare-and-set, one transaction with whatever made the recompute due). `recompute` is all three in one.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import Connection

from models.domain.changes import changes
from models.domain.match import Directory, hosts_to_look_up, match_customer
from models.domain.scope import has_scope
from models.domain.summary import summarize
from models.domain.types import (
    Account,
    AccountResult,
    Catalog,
    Change,
    Decision,
    FxTable,
    Match,
    Snapshot,
    StripeCustomer,
    Summary,
)
from models.errors import Conflict
from models.store import customers as customer_store
from models.store import fx as fx_store
from models.store import mirror, snapshots
from models.store.connections import ConnectionRecord

_CAUSES = {"event": "facts", "backfill": "facts", "refetch": "facts", "clock": "facts", "fx": "fx"}
"""What made a recompute due -> the cause that `changes` knows; `baseline` and `adjustment` stand for themselves."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """Values that are about to be written: they win over what the mirror holds. `evidence`: second by key."""

    values: Mapping[mirror.Key, Any] = field(default_factory=dict)
    evidence: Mapping[mirror.Key, int | None] = field(default_factory=dict)
    kept_keys: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Loaded:
    """Everything one recompute depends on, read in one snapshot."""

    record: ConnectionRecord
    rules_version: str
    touched: set[str]
    customers: dict[str, StripeCustomer]
    owned: dict[str, list[mirror.Owned]]
    evidence: dict[str, int]
    catalog: Catalog
    matches: dict[str, snapshots.StoredMatch]
    new_matches: dict[str, Match]
    hosts: dict[str, tuple[str, ...]]
    computed: dict[int, snapshots.Computed]
    decisions: dict[int, Decision]
    fx: FxTable
    old_fx: dict[str, FxTable]


@dataclass(slots=True)
class Recomputed:
    """What a recompute will write. `failed`: customers whose computation raised, with the error's class."""

    loaded: Loaded
    results: list[snapshots.Result] = field(default_factory=list)
    matches: list[snapshots.StoredMatch] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)

    @property
    def computed(self) -> set[str]:
        """Stripe customers whose figures are in these results."""
        return {account.match.stripe_customer_id for result in self.results for account in result.summary.accounts}

    @property
    def size(self) -> int:
        """How many of our customers were computed."""
        return len(self.results)


def load(
    connection: Connection,
    record: ConnectionRecord,
    stripe_ids: Collection[str],
    *,
    customer_ids: Collection[int] = (),
    overlay: Overlay | None = None,
) -> Loaded:
    """Read all facts of every customer of ours that these Stripe customers belong to, belonged to, or now match.

    `customer_ids`: customers of ours to recompute in any case (due by the clock, a decision, a new FX table).
    """
    overlay = overlay or Overlay()
    touched = set(stripe_ids)
    old = snapshots.load_matches(connection, record.id, touched)
    siblings = snapshots.load_matched_to(
        connection, record.id, {m.base_customer_id for m in old.values() if m.base_customer_id} | set(customer_ids)
    )
    loaded = _facts(connection, record, touched | siblings.keys(), overlay)
    loaded.touched = touched & loaded.customers.keys()
    loaded.matches = old | siblings
    _match(connection, loaded)
    ours = {m.base_customer_id for m in loaded.matches.values() if m.base_customer_id} | set(customer_ids)
    joined = {int(m.customer_id) for m in loaded.new_matches.values() if m.customer_id} - ours
    if joined:  # customers that only now come into play bring their other Stripe customers along
        more = snapshots.load_matched_to(connection, record.id, joined)
        extra = _facts(connection, record, more.keys() - loaded.customers.keys(), overlay)
        _merge(loaded, extra)
        loaded.matches |= more
    loaded.computed = snapshots.load_computed(connection, ours | joined)
    loaded.decisions = snapshots.load_decisions(connection, record.id, loaded.computed.keys())
    _rates(connection, loaded)
    return loaded


def _facts(connection: Connection, record: ConnectionRecord, ids: Collection[str], overlay: Overlay) -> Loaded:
    """The Stripe side of some Stripe customers, with what is about to be written laid over it."""
    found = mirror.load_stripe_customers(connection, record.id, ids)
    evidence: dict[str, int] = {key: second for key, (_, second) in found.items() if second is not None}
    customers = {key: value for key, (value, _) in found.items()}
    owned: dict[mirror.Key, mirror.Owned] = {}
    for object_type in ("subscription", "invoice"):
        for entry in mirror.load_owned(connection, record.id, object_type, ids):
            owned[object_type, entry.id] = entry
    for key, value in overlay.values.items():
        second = overlay.evidence.get(key)
        if key[0] == "customer" and key[1] in ids:
            customers[key[1]] = value
            evidence[key[1]] = max(second or 0, evidence.get(key[1], 0))
        elif key[0] in {"subscription", "invoice"} and value.customer in ids:
            owned[key] = mirror.Owned(key[1], value.customer, value, second)
    grouped: dict[str, list[mirror.Owned]] = {}
    for entry in owned.values():
        grouped.setdefault(entry.customer_id, []).append(entry)
        if entry.evidence is not None:
            evidence[entry.customer_id] = max(entry.evidence, evidence.get(entry.customer_id, 0))
    catalog = _catalog(connection, record, [entry.value for entry in owned.values()], list(customers.values()), overlay)
    return Loaded(
        record=record, rules_version=customer_store.rules_version(connection), touched=set(), customers=customers,
        owned=grouped, evidence=evidence, catalog=catalog, matches={}, new_matches={}, hosts={}, computed={},
        decisions={}, fx=FxTable(), old_fx={},
    )  # fmt: skip


def _merge(loaded: Loaded, extra: Loaded) -> None:
    loaded.customers |= extra.customers
    loaded.owned |= extra.owned
    loaded.evidence |= extra.evidence
    one, two = loaded.catalog, extra.catalog
    loaded.catalog = Catalog(
        prices=one.prices | two.prices, products=one.products | two.products, coupons=one.coupons | two.coupons,
        kept_lookup_keys=one.kept_lookup_keys | two.kept_lookup_keys,
    )  # fmt: skip


def _catalog(
    connection: Connection, record: ConnectionRecord, owned: list[Any], customers: list[StripeCustomer], overlay: Overlay
) -> Catalog:
    """The prices, products, coupons and kept keys that these values name."""
    items = [item for value in owned for item in getattr(value, "items", ())]
    discounts = [d for value in owned for d in getattr(value, "discounts", ())]
    discounts += [d for item in items for d in item.discounts] + [c.discount for c in customers if c.discount]
    price_ids = {item.price.id for item in items if item.price}
    prices = mirror.load_values(connection, record.id, "price", price_ids) | _laid(overlay, "price", price_ids)
    product_ids = {item.price.product for item in items if item.price and item.price.product}
    product_ids |= {price.product for price in prices.values() if price.product}
    coupon_ids = {discount.coupon_id for discount in discounts if discount.coupon_id}
    kept = mirror.load_kept_keys(connection, record.id, price_ids)
    kept |= {key: word for key, word in overlay.kept_keys.items() if key in price_ids}
    return Catalog(
        prices=prices,
        products=mirror.load_values(connection, record.id, "product", product_ids) | _laid(overlay, "product", product_ids),
        coupons=mirror.load_values(connection, record.id, "coupon", coupon_ids) | _laid(overlay, "coupon", coupon_ids),
        kept_lookup_keys=kept,
    )


def _laid(overlay: Overlay, object_type: str, ids: Collection[str]) -> dict[str, Any]:
    return {key[1]: value for key, value in overlay.values.items() if key[0] == object_type and key[1] in ids}


def _match(connection: Connection, loaded: Loaded) -> None:
    """Match every touched Stripe customer anew (RULES 2)."""
    record, settings = loaded.record, loaded.record.settings
    environment = settings.environment
    customers = {key: loaded.customers[key] for key in loaded.touched}
    loaded.hosts = {key: tuple(hosts_to_look_up(customer, settings)) for key, customer in customers.items()}
    links = snapshots.load_links(connection, record.id, customers.keys())
    strings = {host for hosts in loaded.hosts.values() for host in hosts}
    ids = customer_store.holders_of(connection, environment, strings) | set(links.values())
    if settings.metadata_key == "customer_id":
        ids |= {int(text) for text in strings if text.isascii() and text.isdigit() and len(text) < 18}
        ids |= customer_store.by_external_id(connection, environment, strings)
    directory = Directory(customer_store.load_customers(connection, ids).values(), environment)
    for key, customer in customers.items():
        subscriptions = _account(loaded, Match(key, "unmatched", "")).subscriptions
        scoped = has_scope(subscriptions, settings.scope, loaded.catalog)
        link = str(links[key]) if key in links else None
        loaded.new_matches[key] = match_customer(customer, scoped, settings, directory, link)


def _rates(connection: Connection, loaded: Loaded) -> None:
    """The table in force, and the tables of figures that were computed at other rates (RULES 7)."""
    loaded.fx = fx_store.load_table(connection, fx_store.date_in_force(connection))
    dates = {c.fx_date for c in loaded.computed.values() if c.fx_date and c.fx_date != loaded.fx.date}
    loaded.old_fx = {date: fx_store.load_table(connection, date) for date in sorted(dates)}


def compute(loaded: Loaded, *, now: int, now_ms: int, cause: str) -> Recomputed:
    """Summarize every customer that was loaded. One that raises is named in `failed` and stops no other."""
    done = Recomputed(loaded)
    base: dict[int, list[Match]] = {key: [] for key in loaded.computed}
    for stripe_id in sorted(loaded.matches.keys() | loaded.new_matches.keys()):
        match = loaded.new_matches.get(stripe_id) or snapshots.as_match(loaded.matches[stripe_id])
        if match.customer_id is not None and stripe_id in loaded.customers:
            base.setdefault(int(match.customer_id), []).append(match)
    final: dict[str, tuple[Match, Any]] = {}
    for customer_id, computed in sorted(loaded.computed.items()):
        try:
            result = _one(loaded, computed, base[customer_id], now=now, now_ms=now_ms, cause=cause)
        except Exception as error:
            done.failed[customer_id] = type(error).__name__
            continue
        done.results.append(result)
        for account in result.summary.accounts:
            final[account.match.stripe_customer_id] = (account.match, account)
    _stored_matches(loaded, final, done, now)
    return done


def _one(
    loaded: Loaded, computed: snapshots.Computed, matches: list[Match], *, now: int, now_ms: int, cause: str
) -> snapshots.Result:
    snapshot = Snapshot(
        customer_id=str(computed.id),
        accounts=tuple(_account(loaded, match) for match in matches),
        catalog=loaded.catalog,
        decision=loaded.decisions.get(computed.id),
        unreadable=_unreadable(loaded, matches),
    )
    settings = loaded.record.settings
    after = summarize(snapshot, settings, loaded.fx, now)
    stored = msgspec.json.encode(after).decode()
    why = _CAUSES.get(computed.recompute_cause or cause, computed.recompute_cause or cause)
    if why == "facts" and _was_there_before(loaded.record, computed, after):
        why = "baseline"
    differences: tuple[Change, ...] = ()
    if stored != computed.stored:
        old_rates = loaded.old_fx.get(computed.fx_date or "")
        at_old = summarize(snapshot, settings, old_rates, now) if old_rates else None
        differences = changes(computed.summary, after, why, computed.ever_positive, at_old)
    seconds = [loaded.evidence[m.stripe_customer_id] for m in matches if m.stripe_customer_id in loaded.evidence]
    return snapshots.Result(
        id=computed.id, summary=after, stored=stored, fresh=stored != computed.stored, changes=differences, cause=why,
        mirror_version=computed.mirror_version, ever_positive=computed.ever_positive or (after.mrr or 0) > 0,
        as_of=max([*seconds, *([computed.as_of] if computed.as_of else [])], default=None), changed_ms=now_ms,
    )  # fmt: skip


def _was_there_before(record: ConnectionRecord, computed: snapshots.Computed, after: Summary) -> bool:
    """Whether an event met before the first backfill tells of what had begun before we were connected: no news (RULES 7)."""
    if record.backfilled_at is not None or computed.ever_positive or after.billing_started_at is None:
        return False
    return after.billing_started_at < record.created_at


def _account(loaded: Loaded, match: Match) -> Account:
    owned = [entry.value for entry in loaded.owned.get(match.stripe_customer_id, ()) if not entry.value.unreadable]
    return Account(
        customer=loaded.customers[match.stripe_customer_id],
        subscriptions=tuple(value for value in owned if hasattr(value, "items")),
        invoices=tuple(value for value in owned if not hasattr(value, "items")),
        match=match,
    )


def _unreadable(loaded: Loaded, matches: list[Match]) -> tuple[str, ...]:
    """Ids of what belongs to these Stripe customers and can't be read: named in the flags (RULES 8)."""
    owned = (entry for match in matches for entry in loaded.owned.get(match.stripe_customer_id, ()))
    return tuple(sorted(entry.id for entry in owned if entry.value.unreadable))


def _stored_matches(loaded: Loaded, final: Mapping[str, tuple[Match, Any]], done: Recomputed, now: int) -> None:
    """The `matches` rows that differ from what is stored."""
    for stripe_id in sorted(loaded.touched | final.keys()):
        base = loaded.new_matches.get(stripe_id)
        held = loaded.matches.get(stripe_id)
        if base is None and (held is None or held.due):
            continue  # who is due is matched anew before its row is written
        base = base or snapshots.as_match(held)  # type: ignore[arg-type]  # one of the two is there
        match, account = final.get(stripe_id, (base, None))
        failed = account is None and base.customer_id is not None and int(base.customer_id) in done.failed
        if failed and held is not None and held.base_customer_id == int(base.customer_id or 0):
            continue  # its figures stay; a match that is new is written, so that the next try finds the account
        if account is None and base.customer_id is None:
            account = _alone(loaded, stripe_id, now)
        customer = loaded.customers[stripe_id]
        row = snapshots.StoredMatch(
            stripe_customer_id=stripe_id, outcome=match.outcome, reason=match.reason,
            customer_id=None if match.customer_id is None else int(match.customer_id),
            base_customer_id=None if base.customer_id is None else int(base.customer_id), base_reason=base.reason,
            name=customer.name, email_domain=_domain(customer.email), mrr=account.mrr if account else None,
            plan=account.plan if account else None, billed=bool(account and account.billed), due=False,
            version=held.version + 1 if held else 1,
        )  # fmt: skip
        if held is None or row != held._replace(billed=bool(held.billed), due=bool(held.due), version=row.version):
            done.matches.append(row)


def _alone(loaded: Loaded, stripe_id: str, now: int) -> AccountResult | None:
    """What a Stripe customer without a customer of ours would bring: the lists show what is left out, and how much it is."""
    alone = Match(stripe_id, "matched", "link", "-")
    snapshot = Snapshot("-", (_account(loaded, alone),), loaded.catalog)
    try:
        return next(iter(summarize(snapshot, loaded.record.settings, loaded.fx, now).accounts), None)
    except Exception:  # only a list's figure: never a reason to stop
        return None


def _domain(email: str | None) -> str | None:
    return email.rpartition("@")[2].strip().lower()[:255] or None if email and "@" in email else None


def check_rules(connection: Connection, loaded: Loaded, *, changing: bool) -> None:
    """See that what all figures share (our customers, links, settings, prices, products, coupons) is as it was read, and hold
    it so for this transaction. First of all in a transaction that goes on to write mirror rows: one order of locks. `changing`:
    this transaction changes it itself.

    Raises:
        Conflict: it changed meanwhile; load and compute again.
    """
    if customer_store.rules_version(connection, lock="UPDATE" if changing else "SHARE") != loaded.rules_version:
        raise Conflict("customers, prices, links or settings changed meanwhile")


def save(connection: Connection, done: Recomputed, *, now_ms: int, checked: bool = False) -> None:
    """Write what was computed, inside the caller's write transaction. `checked`: `check_rules` was called in it.

    Raises:
        Conflict: a customer, or something the match depends on, changed since it was read; load and compute again.
    """
    loaded = done.loaded
    if not checked:
        check_rules(connection, loaded, changing=False)
    snapshots.lock_customers(connection, {result.id: result.mirror_version for result in done.results})
    hosts = {key: hosts for key, hosts in loaded.hosts.items() if key in loaded.touched}
    snapshots.save_matches(connection, loaded.record.id, done.matches, hosts)
    snapshots.save_summaries(connection, done.results, now_ms)
    customer_store.fall_behind(connection, done.failed)


def recompute(
    connection: Connection,
    record: ConnectionRecord,
    stripe_customer_ids: Collection[str],
    *,
    now: int,
    cause: str,
    customer_ids: Collection[int] = (),
) -> int:
    """Match and recompute inside the caller's write transaction; returns how many of our customers were computed.

    `cause`: event, backfill, baseline (first import), adjustment (scope, matching, decision, setting, rule), clock or fx.

    Raises:
        Conflict: PostgreSQL only: somebody else computed one of them meanwhile; begin again.
    """
    loaded = load(connection, record, stripe_customer_ids, customer_ids=customer_ids)
    done = compute(loaded, now=now, now_ms=now * 1000, cause=cause)
    save(connection, done, now_ms=now * 1000)
    return done.size
