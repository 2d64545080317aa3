"""What the pages say about the connection behind the figures, when there is something to say (PAGES.md, "States")."""

from collections.abc import Sequence
from dataclasses import dataclass

from models.store.sources import Run, Source, Sources

STALE_AFTER = 30 * 60  # seconds without a word from Stripe until the page says so
_LACKS = {
    "customer": ("Customers", "nothing can be matched"),
    "subscription": ("Subscriptions", "plan and MRR are unknown"),
    "invoice": ("Invoices", "payment status is unknown"),
    "payment_intent": ("PaymentIntents", "why payments failed is unknown"),
    "plan": ("Prices", "MRR of tiered prices is unknown"),
    "product": ("Products", "plans have no names"),
    "coupon": ("Coupons", "discounted MRR is unknown"),
    "event": ("Events", "what was not delivered isn't found"),
}  # docs/stripe.md; by the middle of Stripe's word (rak_invoice_read), in the order of its table
_PLURALS = {"customers": "customer", "subscriptions": "subscription", "invoices": "invoice", "prices": "plan",
            "products": "product", "coupons": "coupon", "events": "event"}  # fmt: skip


@dataclass(frozen=True)
class Notice:
    """A line over the figures. `tone`: plain, notice or critical. `at`: a moment to show as "… ago" behind the text."""

    kind: str
    tone: str
    title: str
    text: str
    at: int | None = None
    done: int | None = None
    expected: int | None = None


def notices(sources: Sources, environment: str | None, environments: Sequence[str], now: int) -> list[Notice]:
    """What to say over a list of customers of `environment` (None: of all that hold customers)."""
    if not sources.by_environment:
        text = "Connect Stripe to see plan, MRR and payment status here. Read-only: nothing is ever written to Stripe."
        return [Notice("no_connection", "plain", "Stripe isn't connected yet", text)]
    wanted = [environment] if environment else [*environments] or [*sources.by_environment]
    found = [(name, sources.by_environment.get(name)) for name in wanted]
    return [notice for name, source in found if (notice := _of(source, name, now)) is not None]


def of_customer(sources: Sources, environment: str, now: int) -> Notice | None:
    """What to say beside the figures of one customer."""
    return _of(sources.by_environment.get(environment), environment, now)


def _of(source: Source | None, environment: str, now: int) -> Notice | None:
    if source is None:
        text = f"Nothing is connected for {environment}, so its customers have no figures."
        return Notice("no_connection", "plain", f"No Stripe connection for {environment}", text)
    if source.importing and source.run is not None:
        return _importing(source.run, now)
    if source.state != "active":
        reason = (source.state_reason or "The connection was ended").rstrip(".")
        text = f"{reason}. Figures stay as they were."
        return Notice("stale", "critical", "Stripe is disconnected", text, source.last_word)
    if source.backfilled_at is None:
        return _never_imported(source.run)
    return _lacking(source.missing_permissions) or _quiet(source.last_word, now)


def _quiet(last_word: int | None, now: int) -> Notice | None:
    if last_word is None or now - last_word <= STALE_AFTER:
        return None
    text = "Nothing has changed there, or its events don't arrive."
    return Notice("stale", "notice", "Last word from Stripe", text, last_word)


def _lacking(missing: Sequence[str]) -> Notice | None:
    """What isn't known because the key may not read it (FAULTS F68)."""
    bare = [name.removeprefix("rak_").removesuffix("_read") for name in missing]
    kinds = {_PLURALS.get(name, name) for name in bare}
    known = [words for kind, words in _LACKS.items() if kind in kinds]
    if not known:
        return None
    names, so = ", ".join(name for name, _ in known), "; ".join(what for _, what in known)
    text = f"{so[0].upper()}{so[1:]}. An admin can let the key read {names} in Stripe's dashboard"
    return Notice("lacking", "notice", "The Stripe key may not read everything", f"{text}, then run the import again.")


def _never_imported(run: Run | None) -> Notice:
    if run is not None and run.state == "failed":
        reason = (run.error or "no reason was given").rstrip(".")
        return Notice("stale", "critical", "The import stopped", f"{reason}. What was read is kept; run it again to go on.")
    text = "Only what has changed since the connection was made is shown. An admin can run the import."
    return Notice("stale", "notice", "Not imported yet", text)


def _importing(run: Run, now: int) -> Notice:
    done = f"{run.objects:,}"
    if not run.expected:
        return Notice("importing", "plain", "Importing", f"{done} objects read from Stripe so far", done=run.objects)
    text = f"{done} of about {run.expected:,} objects from Stripe"
    elapsed = max(1, now - run.started_ms // 1000)
    if run.objects and run.expected > run.objects:
        left = (run.expected - run.objects) * elapsed // run.objects
        text += f", {left // 60 + 1} min left" if left >= 60 else ", less than a minute left"
    return Notice("importing", "plain", "Importing", text, done=run.objects, expected=run.expected)


def state_mark(sources: Sources, now: int) -> str:
    """A text that differs when a notice would read differently (but for the running seconds)."""
    parts = []
    for name, source in sorted(sources.by_environment.items()):
        run = source.run
        stale = source.last_word is not None and now - source.last_word > STALE_AFTER
        told = (name, source.state, source.backfilled_at, stale, source.missing_permissions)
        parts.append((told, run and (run.id, run.state, run.objects)))
    return repr(parts)
