"""What the tests share: real servers, migrated databases, and how to say "only on this database"."""

import os
from typing import NoReturn

import pytest

only_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
only_postgres = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


def missing(what: str) -> NoReturn:
    """Skip and say why; in CI, where everything must be there, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must have it: {what}")
    pytest.skip(what)
