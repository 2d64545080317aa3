"""About when an account's first object was made: where to cut its lists, and how far a walk has come."""

from workers.lists import FIRST_STRIPE_SECOND
from workers.stripe_api import StripeApi
from workers.stripe_objects import Read, rows_of

GUESSES = 6
"""Reads of one object each: some 15 years, halved six times."""


def guess_oldest(api: StripeApi, first: Read) -> int | None:
    """A second (Stripe's clock) not long before the oldest customer; None where one page shows all there are.

    `first`: the newest customer, as `limit=1` shows it. Raises as `StripeApi.read`.
    """
    rows = rows_of(first)
    if first.data.get("has_more") is not True or not isinstance(rows[0].get("created"), int):
        return None
    low, high = FIRST_STRIPE_SECOND, rows[0]["created"]
    for _ in range(GUESSES):
        middle = (low + high) // 2
        found = rows_of(api.read("/v1/customers", {"limit": 1, "created": {"lt": middle}}, "probe"))
        if found and isinstance(found[0].get("created"), int):
            high = found[0]["created"]
        else:
            low = middle
    return low
