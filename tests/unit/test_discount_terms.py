"""A discount runs on with the terms it was given, also once its coupon is deleted or its id made again (FAULTS F83)."""

import pytest

from models.domain.types import Coupon, Discount, StripeCustomer, Subscription, SubscriptionItem
from models.stripe_reader.objects import read_discount
from workers.objects import resolve_discounts

GONE = {"id": "HALF", "object": "coupon", "deleted": True}
HELD = Discount(id="di_1", coupon_id="HALF", coupon=Coupon(id="HALF", duration="forever"), start=1)


@pytest.mark.fault("F83")
@pytest.mark.parametrize("inside", [{"coupon": GONE}, {"source": {"coupon": GONE}}])
def test_what_stands_for_a_deleted_coupon_is_a_reference_and_no_copy(inside: dict) -> None:
    read = read_discount({"id": "di_1", **inside})
    assert (read.coupon_id, read.coupon) == ("HALF", None)


@pytest.mark.fault("F83")
def test_a_discount_whose_coupon_is_gone_keeps_the_terms_that_are_held() -> None:
    bare, named = Discount(id="di_1"), Discount(id="di_1", coupon_id="HALF", start=1)
    for shown in (bare, named):
        owners = [
            StripeCustomer(id="cus_1", discount=shown),
            Subscription(id="sub_1", discounts=(shown,)),
            Subscription(id="sub_1", items=(SubscriptionItem(id="si_1", discounts=(shown,)),)),
        ]
        customer, subscription, by_item = [resolve_discounts(owner, {"di_1": HELD}) for owner in owners]
        assert customer.discount == HELD
        assert subscription.discounts == (HELD,)
        assert by_item.items[0].discounts == (HELD,)


def test_terms_are_never_taken_from_another_coupon_or_over_what_is_shown() -> None:
    other = Discount(id="di_1", coupon_id="THIRD")
    whole = Discount(id="di_1", coupon_id="HALF", coupon=Coupon(id="HALF", duration="once"))
    unknown = Discount(id="di_2", coupon_id="HALF")
    value = Subscription(id="sub_1", discounts=(other, whole, unknown))
    assert resolve_discounts(value, {"di_1": HELD}) == value
