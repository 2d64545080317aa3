"""Which event types can change what we show (STRIPE 3.1). The others are stored and answered 200, and marked `ignored`.

`apply` goes by object, so every type whose object is a whole snapshot of something the rules read is worth applying, also one
that only doubles another of the same second (`invoice.payment_succeeded` beside `invoice.paid`): equal facts cost no read.
"""

_BY_FAMILY = {
    "customer": ("created", "updated", "deleted"),
    "customer.subscription": (
        "created",
        "updated",
        "deleted",
        "paused",
        "resumed",
        "pending_update_applied",
        "pending_update_expired",
    ),
    "customer.discount": ("created", "updated", "deleted"),
    "coupon": ("created", "updated", "deleted"),
    "price": ("created", "updated", "deleted"),
    "product": ("created", "updated", "deleted"),
    "invoice": (
        "created",
        "finalized",
        "finalization_failed",
        "paid",
        "payment_succeeded",
        "payment_failed",
        "payment_action_required",
        "payment_attempt_required",
        "updated",
        "voided",
        "marked_uncollectible",
        "overpaid",
        "overdue",
        "will_be_due",
        "deleted",
    ),
    "invoice_payment": ("paid",),
    "account.application": ("deauthorized",),
}

HANDLED_TYPES = frozenset(f"{family}.{verb}" for family, verbs in _BY_FAMILY.items() for verb in verbs)


def affects(event_type: str) -> bool:
    """Whether an event of this type can change a figure, a match or a connection.

    A thin event (STRIPE 9; type `v1.…` or `v2.…`) is a pointer to its object, and its types are finer than ours: it affects
    whatever its object's family affects.
    """
    if event_type in HANDLED_TYPES:
        return True
    family, _, verb = event_type.removeprefix("v1.").rpartition(".")
    return event_type.startswith("v1.") and bool(verb) and family in _THIN_FAMILIES


_THIN_FAMILIES = frozenset({*_BY_FAMILY, "subscription", "discount"})
