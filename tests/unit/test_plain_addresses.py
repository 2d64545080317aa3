"""The short way for plain e-mail addresses says what the library says (RULES 2, line 4)."""

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given
from hypothesis import strategies as st

from models.domain.hosts import _plain_host, email_host, normalise_host

LABEL = st.text("ab9-_xn.é", max_size=6)
NAMES = ["com", "test", "local", "localhost", "COM", "x" * 63, "x" * 64, "co.uk", "invalid", "arpa", "xn--abc", "c1", "1"]
ADDRESS = st.one_of(
    st.builds(lambda local, labels: f"{local}@{'.'.join(labels)}", st.text("aB9._+-\"' é", max_size=8),
              st.lists(st.one_of(LABEL, st.sampled_from(NAMES)), max_size=5)),
    st.text("a@.-_+ 9", max_size=12),
)  # fmt: skip


def by_the_library(address, testing):
    try:
        validate_email(address, check_deliverability=False, test_environment=testing)
    except (EmailNotValidError, UnicodeError):
        return None
    return normalise_host(address.rpartition("@")[2])


@given(address=ADDRESS, testing=st.booleans())
def test_plain_addresses_are_judged_as_the_library_judges_them(address, testing):
    assert email_host(address, testing) == by_the_library(address.strip(), testing)


@pytest.mark.parametrize("address", ["ann@acme.com", "ann.lee+bill_1@eu.mail.Acme-Corp.co.uk", "a@b.io"])
def test_everyday_addresses_take_the_short_way(address):
    assert _plain_host(address) is not None


@pytest.mark.fault("S69")
def test_long_addresses_do_not_take_it():
    assert _plain_host("a@" + "a" * 500 + ".com") is None
    assert _plain_host("a" * 65 + "@acme.com") is None
