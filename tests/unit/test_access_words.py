"""What access and pages decide without a database: return addresses, cursors, passwords, words."""

import string
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from models.domain.types import Overdue, Summary
from models.store.readmodel import Position
from webhook_app.api.params import BadParameter, read_cursor, read_filter, read_limit, read_sort, write_cursor
from webhook_app.auth.context import bare_host, is_loopback_name
from webhook_app.auth.passwords import hash_password, password_problem, verify_password
from webhook_app.auth.redirects import HOME, next_of
from webhook_app.ui import words

NOW = 1_780_000_000
ORIGIN = "https://pivotal.example"
_KEYS = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=40))
_IDS = st.integers(1, 2**63 - 1)


@pytest.mark.fault("S47")
@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "/\\evil.example",
        "\\/evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "/%0d%0aX: 1\r\n",
        "/a\r\nSet-Cookie: x",
        "/a b",
        "",
        None,
        "customers",
        "///evil.example",
        "/\tevil",
        "/sign-in",
        "/sign-out",
        "/welcome/abc",
        "/" + "a" * 2000,
        "/\u2028evil",
        "http:/evil",
        "/.//evil.example\\@x",
    ],
)
def test_a_return_address_that_is_no_local_path_becomes_the_home_page(target: str | None) -> None:
    assert next_of(target) == HOME


@pytest.mark.parametrize("target", ["/customers", "/customers/42", "/customers?status=failing&sort=-mrr", "/admin/stripe#x"])
def test_a_local_path_is_returned_to(target: str) -> None:
    assert next_of(target) == target


@pytest.mark.fault("S47")
@given(st.text(alphabet=string.printable + "\\/@:%\u2215", max_size=60) | st.text(max_size=60).map(lambda text: "/" + text))
def test_no_return_address_ever_leaves_our_own_host(target: str) -> None:
    found = next_of(target)
    assert urlsplit(urljoin(ORIGIN + "/sign-in", found)).netloc == "pivotal.example"
    assert found.startswith("/")
    assert not found.startswith(("//", "/\\"))
    assert "\n" not in found
    assert "\r" not in found


@given(_KEYS, _IDS)
def test_a_cursor_reads_back_as_the_position_it_was_written_for(key: int | str | None, row_id: int) -> None:
    assert read_cursor("customers -mrr", write_cursor("customers -mrr", Position(key, row_id))) == Position(key, row_id)


@given(_KEYS, _IDS, st.data())
def test_a_cursor_with_one_character_changed_is_refused(key: int | str | None, row_id: int, data: st.DataObject) -> None:
    cursor = write_cursor("customers -mrr", Position(key, row_id))
    at = data.draw(st.integers(0, len(cursor) - 1))
    letter = data.draw(st.sampled_from(string.ascii_letters + string.digits + "-_=+/ ").filter(lambda one: one != cursor[at]))
    with pytest.raises(BadParameter, match="cursor"):
        read_cursor("customers -mrr", cursor[:at] + letter + cursor[at + 1 :])


@given(st.text(max_size=80))
def test_text_that_is_no_cursor_is_refused_and_never_an_error_of_ours(text: str) -> None:
    with pytest.raises(BadParameter):
        read_cursor("customers -mrr", text)


def test_a_cursor_of_another_order_is_refused() -> None:
    with pytest.raises(BadParameter):
        read_cursor("customers name", write_cursor("customers -mrr", Position(5, 1)))


@given(st.dictionaries(st.sampled_from(["q", "payment_status", "plan", "environment", "sort", "limit"]), st.text(max_size=220)))
def test_any_text_in_a_parameter_is_read_or_refused_by_name(values: dict[str, str]) -> None:
    args = MultiDict(values)
    for read in (read_filter, read_limit, read_sort):
        refused = None
        try:
            read(args)
        except BadParameter as error:
            refused = error
        assert refused is None or (refused.parameter in values and str(refused).startswith(refused.parameter))


@pytest.mark.fault("S27")
@pytest.mark.parametrize(
    "password",
    [
        "short",
        "elevenchars",
        "a" * 129,
        "PasswordPassword",
        "correct horse battery staple",
        "aaaaaaaaaaaaaa",
        "121212121212",
        "dana.long@example.com",
        "password123456!",
    ],
)
def test_a_password_that_is_too_short_too_long_or_common_is_refused_in_words(password: str) -> None:
    assert password_problem(password, "dana.long@example.com")


@pytest.mark.fault("S27")
@pytest.mark.parametrize(
    "password",
    ["twelve chars", "onlylowercaseletters", "ünïcödé wörds hère", "🦔🦔🦔 hedge hogs walk", "x1" + "y" * 120 + "abcdef"],
)
def test_no_kind_of_character_is_demanded_of_a_password(password: str) -> None:
    assert password_problem(password, "dana@example.com") is None


@pytest.mark.fault("S27")
def test_passwords_are_kept_as_argon2id_and_checked_in_any_unicode_form() -> None:
    stored = hash_password("caf\u00e9 on the corner")
    assert stored.startswith("$argon2id$")
    assert verify_password(stored, "cafe\u0301 on the corner")
    assert not verify_password(stored, "cafe on the corner")
    assert not verify_password(None, "caf\u00e9 on the corner")
    assert not verify_password(stored, "x" * 10_000)


@pytest.mark.fault("S49")
@pytest.mark.parametrize(
    ("host", "name", "local"),
    [
        ("localhost:8000", "localhost", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("[::1]:80", "::1", True),
        ("LOCALHOST.", "localhost", True),
        ("evil.example", "evil.example", False),
        ("127.0.0.1.evil.example", "127.0.0.1.evil.example", False),
        ("", "", False),
        ("localhost.evil.example:80", "localhost.evil.example", False),
        ("10.0.0.1", "10.0.0.1", False),
    ],
)
def test_only_names_of_this_machine_are_loopback(host: str, name: str, local: bool) -> None:
    assert bare_host(host) == name
    assert is_loopback_name(name) is local


def test_money_is_written_without_cents_unless_there_are_any() -> None:
    assert [words.money(140000), words.money(140050), words.money(-500), words.money(0)] == ["$1,400", "$1,400.50", "−$5", "$0"]
    assert [words.money("9000", "eur"), words.money(1200, "jpy"), words.money(1234500, "kwd"), words.money("13333.333333")] == [
        "€90",
        "¥1,200",
        "KWD 1,234.500",
        "$133.33",
    ]
    assert words.mrr(None) == "—"


def test_a_failing_payment_says_attempt_reason_next_try_and_what_is_due() -> None:
    summary = Summary(
        payment_status="failing",
        attempt_count=2,
        failure_reason="expired_card",
        next_retry_at=NOW + 86400,
        amount_due=140000,
        amount_due_currency="usd",
        overdue=(Overdue("usd", 120000, 2),),
    )
    assert words.payment_line(summary, NOW) == "2nd attempt failed: card expired · next try 29 May · $1,400 due"
    assert words.overdue_line(summary.overdue) == "$1,200 overdue on 2 older invoices"
    assert words.payment_line(Summary(payment_status="paid"), NOW) is None


@given(st.text(min_size=1, max_size=40))
def test_every_flag_known_or_not_becomes_a_chip_with_a_remedy(flag: str) -> None:
    for made in words.chips([flag, f"mrr_unknown:{flag}", f"no_usd_rate:{flag}"], None, NOW):
        assert made.word
        assert made.remedy


def test_ages_and_ordinals_read_as_people_say_them() -> None:
    assert [words.ago(NOW - age, NOW) for age in (-5, 3, 2520, 7200, 90000, 864000)] == [
        "0 s ago",
        "3 s ago",
        "42 min ago",
        "2 h ago",
        "25 h ago",
        "10 days ago",
    ]
    assert [words.ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 112)] == [
        "1st",
        "2nd",
        "3rd",
        "4th",
        "11th",
        "12th",
        "13th",
        "21st",
        "112th",
    ]
