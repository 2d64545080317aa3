"""The plan: which subscription names it, its text, and its readable label (RULES 4)."""

import re
from collections.abc import Sequence
from fractions import Fraction

import msgspec

from models.domain.mrr import SubscriptionMrr
from models.domain.scope import item_in_scope, lookup_key_of, name_of
from models.domain.types import Catalog, Scope, Subscription

_INTERVAL = re.compile(r"[_-](?:monthly|yearly|annual|quarterly|weekly|month|year)$", re.IGNORECASE)
_SEPARATORS = re.compile(r"[_\s-]+")
_NEVER = 2**63


class Plan(msgspec.Struct, frozen=True):
    """The plan's text, its label, and the subscription it comes from. Both texts None: no plan."""

    text: str | None = None
    label: str | None = None
    subscription: Subscription | None = None


def plan_label(key: str) -> str:
    """A lookup key made readable: `growth_monthly` -> `Growth`, `pro_API-annual` -> `Pro API`.

    Only of lookup keys; names, nicknames and ids are kept as they are. A key that is nothing else stays.
    """
    words = [word for word in _SEPARATORS.split(_INTERVAL.sub("", key)) if word]
    if not words:
        words = [word for word in _SEPARATORS.split(key) if word]
    return " ".join(word[:1].upper() + word[1:] for word in words) or key


def plan_of(results: Sequence[SubscriptionMrr], scope: Scope, catalog: Catalog) -> Plan:
    """The plan of one Stripe customer: of the counting subscription with the highest MRR, else the latest trial."""
    subscription = _deciding(results)
    if subscription is None:
        return Plan()
    first = next((item for item in subscription.items if item_in_scope(item, scope, catalog)), None)
    if first is None:
        return Plan(subscription=subscription)
    key = lookup_key_of(first, catalog)
    if key:
        return Plan(key, plan_label(key), subscription)
    name = name_of(first, catalog)
    return Plan(name, name, subscription)


def _deciding(results: Sequence[SubscriptionMrr]) -> Subscription | None:
    """RULES 4: highest MRR (unknown ranks as 0), earliest start, id; if none counts, the most recent trialing one."""
    counting = [result for result in results if result.counts]
    if counting:
        return min(counting, key=_rank).subscription
    trials = [result.subscription for result in results if result.in_scope and result.subscription.status == "trialing"]
    return min(trials, key=lambda trial: (-_start(trial, 0), trial.id), default=None)


def _rank(result: SubscriptionMrr) -> tuple[Fraction, int, str]:
    subscription = result.subscription
    return -(result.usd or Fraction(0)), _start(subscription, _NEVER), subscription.id


def _start(subscription: Subscription, missing: int) -> int:
    return missing if subscription.start_date is None else subscription.start_date
