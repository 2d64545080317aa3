"""RULES 7: each difference by its name."""

import pytest

from models.domain.changes import changes
from models.domain.types import AccountResult, Change, Match, Overdue, Summary

NEW, OLD = Summary(mrr=20_000), Summary(mrr=10_000)


def _movements(before: Summary | None, after: Summary, cause: str = "facts", **more: object) -> list[tuple[str, int | None]]:
    found = changes(before, after, cause, bool(more.pop("ever_positive", True)), **more)  # type: ignore[arg-type]
    return [(change.kind, change.amount) for change in found if change.field == "mrr"]


@pytest.mark.parametrize("cause", ["facts", "fx", "baseline", "adjustment"])
def test_nothing_changed_writes_nothing(cause: str) -> None:
    assert changes(OLD, OLD, cause, True) == ()
    assert changes(None, Summary(), cause, False) == ()


@pytest.mark.parametrize(
    ("before", "after", "ever", "kind"),
    [
        (0, 500, False, "new"),
        (0, 500, True, "reactivation"),
        (500, 0, True, "churn"),
        (500, 700, True, "expansion"),
        (700, 500, True, "contraction"),
    ],
)
def test_facts_give_the_five_movements(before: int, after: int, ever: bool, kind: str) -> None:
    found = _movements(Summary(mrr=before), Summary(mrr=after), ever_positive=ever)
    assert found == [(kind, after - before)]


@pytest.mark.fault("F28")
def test_rates_alone_are_fx_never_expansion() -> None:
    assert _movements(OLD, NEW, "fx") == [("fx", 10_000)]


def test_facts_and_rates_together_are_told_facts_first_at_the_old_rates() -> None:
    middle = Summary(mrr=15_000)
    assert _movements(OLD, NEW, at_old_rates=middle) == [("expansion", 5000), ("fx", 5000)]
    assert _movements(OLD, NEW, at_old_rates=OLD) == [("fx", 10_000)]
    assert _movements(OLD, OLD, at_old_rates=middle) == [("expansion", 5000), ("fx", -5000)]


@pytest.mark.parametrize("cause", ["baseline", "adjustment"])
def test_no_news_keeps_its_own_kind(cause: str) -> None:
    assert _movements(None, NEW, cause, at_old_rates=OLD) == [(cause, 20_000)]


@pytest.mark.parametrize(("before", "after", "amount"), [(10_000, None, -10_000), (None, 20_000, 20_000), (None, 0, 0)])
def test_a_number_that_became_known_or_unknown_is_an_adjustment(before: int | None, after: int | None, amount: int) -> None:
    assert _movements(Summary(mrr=before), Summary(mrr=after)) == [("adjustment", amount)]


def test_each_difference_has_its_name() -> None:
    match = Match("cus_1", "matched", "domain", "c1")
    after = Summary(
        plan="growth",
        mrr=10_000,
        payment_status="failing",
        billing_started_at=5,
        stripe_customer_id="cus_1",
        flags=("cancelling",),
        overdue=(Overdue("usd", 5, 1),),
        accounts=(AccountResult(match=match, mrr=10_000, plan="growth", billed=True),),
    )
    found = {change.field: change for change in changes(None, after, "facts", False)}
    assert set(found) == {"plan", "payment_status", "billing_started_at", "match", "mrr", "details"}
    assert found["plan"] == Change("plan", "changed", None, "growth")
    assert found["mrr"] == Change("mrr", "new", 0, 10_000, 10_000)
    assert found["details"].after == {"flags": ["cancelling"], "overdue": [{"currency": "usd", "amount": 5, "invoices": 1}]}
    assert {change.kind for change in changes(None, after, "baseline", False)} == {"baseline"}


def test_what_only_explains_is_no_change() -> None:
    after = Summary(mrr=10_000, derivation=({"subscription": "sub_1"},), next_change_at=9, fx_date="2026-11-01")
    assert changes(OLD, after, "facts", True) == ()
