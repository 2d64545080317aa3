"""Everything that can happen in the account, with its events (STRIPE 10.3)."""

from tests.fake_stripe.change_catalog import CatalogChanges
from tests.fake_stripe.change_rare import RareChanges


class Changes(CatalogChanges, RareChanges):
    """`fake.change.…`: one method per change."""
