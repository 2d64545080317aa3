"""API versions by date, and what each one changed (STRIPE 2.2)."""

import re

PINNED = "2026-10-28.endive"

TIERS_BY_EXPAND = "2020-08-27"  # also: no more `subscriptions`, `sources`, `tax_ids` inside a customer
LATEST_CHARGE = "2022-11-15"
FEATURES_RENAMED = "2024-04-10"
ACACIA = "2024-09-30"  # invoices carry `parent`, `taxes`, `pricing` beside the old fields
BASIL = "2025-03-31"
FLEXIBLE = "2025-06-30"
CLOVER = "2025-09-30"
DAHLIA = "2026-03-25"
BY_EXPAND_ONLY = "2026-05-27"  # `billed_until` of items, `amount_paid_off_stripe` of invoices
ENDIVE = "2026-09-30"

RENDERED = ("2020-08-27", "2024-06-20", "2025-03-31.basil", "2025-09-30.clover", "2026-03-25.dahlia", "2026-09-30.endive",
            PINNED)  # fmt: skip
_FORM = re.compile(r"20[0-9]{2}-[01][0-9]-[0-3][0-9](\.[a-z]+)?")


def known(version: str) -> bool:
    """Whether Stripe would accept it: well-formed and not from the future."""
    return _FORM.fullmatch(version) is not None and version[:10] <= PINNED[:10]


def day(version: str) -> str:
    """The part that orders versions."""
    return version[:10]
