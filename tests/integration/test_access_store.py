"""Users, links, sessions, tokens, throttling and the audit log, on both databases."""

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import delete, select, update

from models.errors import BadInput, NotFound, Refused
from models.store.access import (
    LINK_SECONDS,
    account_of_link,
    create_one_time_link,
    create_token,
    create_user,
    disable_user,
    find_account,
    has_users,
    load_account,
    load_token,
    revoke_token,
    set_role,
    touch_token,
    use_one_time_link,
)
from models.store.audit import append_audit, first_broken_entry
from models.store.logins import (
    ABSOLUTE,
    FREE_FAILURES,
    FREE_FAILURES_OF_ADDRESS,
    IDLE,
    LONGEST_WAIT,
    attempt_keys,
    clear_attempts,
    create_session,
    end_session,
    load_session,
    reserve_attempt,
    touch_session,
)
from models.store.session import Database, session_scope
from models.tables import ApiToken, AuditEntry, LoginAttempt, LoginSession, OneTimeLink
from tests.support.environment import NOW

SECRET = b"k" * 32


def _at_once(count: int, act: Callable[[int], object]) -> list[object]:
    """Run `act` on so many threads that start together; their results."""
    barrier, results = threading.Barrier(count), list[object]()

    def run(number: int) -> None:
        barrier.wait()
        try:
            results.append(act(number))
        except Refused:
            results.append(None)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_a_user_is_found_by_address_in_any_case_and_exists_once(database: Database) -> None:
    with session_scope(database, write=True) as conn:
        assert not has_users(conn)
        user_id = create_user(conn, " Dana@Example.COM ", "csm", NOW)
        assert has_users(conn)
        account = find_account(conn, "DANA@example.com")
        assert account is not None
        assert (account.user_id, account.email, account.role, account.password_hash) == (
            user_id,
            "dana@example.com",
            "csm",
            None,
        )
        with pytest.raises(Refused):
            create_user(conn, "dana@EXAMPLE.com", "admin", NOW)
        for email, role in (("nobody", "csm"), ("a@b\n.c", "csm"), ("x@example.com", "root")):
            with pytest.raises(BadInput):
                create_user(conn, email, role, NOW)


@pytest.mark.fault("S30")
def test_a_one_time_link_sets_a_password_once_and_only_for_a_day(database: Database) -> None:
    with session_scope(database, write=True) as conn:
        user_id = create_user(conn, "a@example.com", "admin", NOW)
        token = create_one_time_link(conn, user_id, NOW)
        session = create_session(conn, user_id, NOW)
        assert token not in list(conn.execute(select(OneTimeLink.token_hash)).scalars())
        assert account_of_link(conn, token, NOW + LINK_SECONDS) is None
        assert use_one_time_link(conn, token, "hash", NOW + LINK_SECONDS) is None
        assert account_of_link(conn, token, NOW + LINK_SECONDS - 1) is not None
        used = use_one_time_link(conn, token, "hash", NOW + 60)
        assert used is not None
        assert used.user_id == user_id
        assert use_one_time_link(conn, token, "other", NOW + 61) is None
        account = load_account(conn, user_id)
        assert account is not None
        assert account.password_hash == "hash"
        assert load_session(conn, session, NOW + 62) is None, "earlier sessions end with the new password"
        with pytest.raises(NotFound):
            create_one_time_link(conn, user_id + 1, NOW)


@pytest.mark.fault("S30")
def test_a_new_link_ends_the_one_before(database: Database) -> None:
    with session_scope(database, write=True) as conn:
        user_id = create_user(conn, "a@example.com", "admin", NOW)
        old = create_one_time_link(conn, user_id, NOW)
        new = create_one_time_link(conn, user_id, NOW + 5)
        assert account_of_link(conn, old, NOW + 6) is None
        assert account_of_link(conn, new, NOW + 6) is not None


@pytest.mark.fault("S68")
def test_of_fifty_who_use_one_link_at_once_exactly_one_sets_the_password(database: Database) -> None:
    with session_scope(database, write=True) as conn:
        token = create_one_time_link(conn, create_user(conn, "a@example.com", "admin", NOW), NOW)

    def use(number: int) -> object:
        with session_scope(database, write=True) as conn:
            return use_one_time_link(conn, token, f"hash {number}", NOW + 1)

    assert sum(result is not None for result in _at_once(12, use)) == 1


@pytest.mark.fault("S68")
def test_two_admins_who_demote_each_other_at_once_leave_one_admin(database: Database) -> None:
    with session_scope(database, write=True) as conn:
        admins = [create_user(conn, f"admin{n}@example.com", "admin", NOW) for n in range(2)]
        create_user(conn, "csm@example.com", "csm", NOW)

    def demote(number: int) -> object:
        with session_scope(database, write=True) as conn:
            set_role(conn, admins[number], "csm", NOW)
        return number

    assert sum(result is not None for result in _at_once(2, demote)) == 1
    with session_scope(database, write=True) as conn:
        roles = sorted(account.role for account in (load_account(conn, user_id) for user_id in admins) if account)
        assert roles == ["admin", "csm"]
        last = next(user_id for user_id in admins if (found := load_account(conn, user_id)) and found.role == "admin")
        with pytest.raises(Refused):
            disable_user(conn, last, NOW)


@pytest.mark.fault("S32")
@pytest.mark.parametrize("role", ["admin", "csm"])
def test_a_session_ends_when_idle_too_long_and_at_its_last_hour_whatever_happens(database: Database, role: str) -> None:
    with session_scope(database, write=True) as conn:
        session = create_session(conn, create_user(conn, "a@example.com", role, NOW), NOW)
        found = load_session(conn, session, NOW + IDLE[role] - 1)
        assert found is not None
        assert found.role == role
        assert load_session(conn, session, NOW + IDLE[role]) is None
        at = NOW
        while at < NOW + ABSOLUTE[role]:
            touch_session(conn, found.id_hash, at)
            at += IDLE[role] - 1
        assert load_session(conn, session, NOW + ABSOLUTE[role] - 1) is not None
        assert load_session(conn, session, NOW + ABSOLUTE[role]) is None


@pytest.mark.fault("S31")
def test_a_session_id_is_long_kept_as_a_hash_and_unknown_ones_are_nobody(database: Database) -> None:
    with session_scope(database, write=True) as conn:
        user_id = create_user(conn, "a@example.com", "csm", NOW)
        session = create_session(conn, user_id, NOW)
        stored = conn.execute(select(LoginSession.id_hash)).scalar_one()
        assert len(session) >= 43
        assert session not in stored
        assert load_session(conn, stored, NOW) is None, "the stored hash opens nothing"
        assert load_session(conn, "\ud800", NOW) is None
        end_session(conn, stored, NOW)
        assert load_session(conn, session, NOW) is None


@pytest.mark.fault("S39")
def test_a_changed_role_and_a_disabled_user_count_from_the_next_look(database: Database) -> None:
    with session_scope(database, write=True) as conn:
        create_user(conn, "boss@example.com", "admin", NOW)
        user_id = create_user(conn, "a@example.com", "admin", NOW)
        session = create_session(conn, user_id, NOW)
        set_role(conn, user_id, "csm", NOW)
        found = load_session(conn, session, NOW + 1)
        assert found is not None
        assert found.role == "csm"
        disable_user(conn, user_id, NOW + 2)
        assert load_session(conn, session, NOW + 3) is None


def test_a_token_is_shown_once_found_by_its_hash_and_revocable(database: Database) -> None:
    with session_scope(database, write=True) as conn:
        token = create_token(conn, "csm", "script", NOW)
        row = conn.execute(select(ApiToken.id, ApiToken.token_hash)).one()
        assert token.startswith("pst_")
        assert token not in row.token_hash
        found = load_token(conn, token)
        assert found is not None
        assert (found.role, found.last_used_at) == ("csm", None)
        touch_token(conn, row.id, NOW + 5)
        touch_token(conn, row.id, NOW + 1)
        again = load_token(conn, token)
        assert again is not None
        assert again.last_used_at == NOW + 5
        for wrong in ("", "pst_", token[:-1], token + "x", row.token_hash, "pst_" + "x" * 500, "pst_\ud800"):
            assert load_token(conn, wrong) is None
        revoke_token(conn, row.id, NOW)
        assert load_token(conn, token) is None
        with pytest.raises(NotFound):
            revoke_token(conn, row.id, NOW)
        with pytest.raises(BadInput):
            create_token(conn, "root", None, NOW)


@pytest.mark.fault("S28")
def test_failures_earn_growing_waits_for_the_account_and_address_alone(database: Database) -> None:
    keys, other = attempt_keys(SECRET, "a@example.com", "192.0.2.1"), attempt_keys(SECRET, "b@example.com", "192.0.2.1")
    far = attempt_keys(SECRET, "a@example.com", "198.51.100.7")
    with session_scope(database, write=True) as conn:
        assert [reserve_attempt(conn, keys, NOW) for _ in range(FREE_FAILURES)] == [0] * FREE_FAILURES
        assert reserve_attempt(conn, keys, NOW) == 5
        assert reserve_attempt(conn, other, NOW) == 0, "another account from here may go on"
        assert reserve_attempt(conn, far, NOW) == 0, "the account from elsewhere may go on: nobody can be locked out"
        assert reserve_attempt(conn, keys, NOW + 5) == 0
        assert reserve_attempt(conn, keys, NOW + 5) == 10
        clear_attempts(conn, keys)
        assert reserve_attempt(conn, keys, NOW + 6) == 0


@pytest.mark.fault("S11")
def test_one_address_that_tries_many_accounts_has_to_wait_at_most_a_quarter_hour(database: Database) -> None:
    with session_scope(database, write=True) as conn:
        waits = [reserve_attempt(conn, attempt_keys(SECRET, f"user{n}@example.com", "192.0.2.1"), NOW) for n in range(60)]
        assert waits[:FREE_FAILURES_OF_ADDRESS] == [0] * FREE_FAILURES_OF_ADDRESS
        assert all(0 < wait <= LONGEST_WAIT for wait in waits[FREE_FAILURES_OF_ADDRESS:])
        later = reserve_attempt(conn, attempt_keys(SECRET, "z@example.com", "192.0.2.1"), NOW + 2 * 3600)
        assert later == 0, "an hour without tries is forgiven"
        assert not any("192.0.2.1" in key or "@" in key for key in conn.execute(select(LoginAttempt.key_hash)).scalars())


@pytest.mark.fault("S28")
def test_tries_at_the_same_moment_count_each(database: Database) -> None:
    keys = attempt_keys(SECRET, "a@example.com", "192.0.2.1")

    def attempt(_number: int) -> object:
        with session_scope(database, write=True) as conn:
            return reserve_attempt(conn, keys, NOW) or None

    results = _at_once(FREE_FAILURES + 5, attempt)
    assert sum(result is None for result in results) == FREE_FAILURES


@pytest.mark.fault("S54")
def test_the_audit_log_shows_where_an_entry_was_changed_or_taken_out(database: Database) -> None:
    with session_scope(database, write=True) as conn:
        for number in range(6):
            append_audit(conn, "user:1", "tested", NOW + number, subject=f"thing:{number}", details={"n": number})
        assert first_broken_entry(conn) is None
        ids = list(conn.execute(select(AuditEntry.id).order_by(AuditEntry.id)).scalars())
    for harm in (
        update(AuditEntry).where(AuditEntry.id == ids[2]).values(actor="user:2"),
        delete(AuditEntry).where(AuditEntry.id == ids[3]),
    ):
        try:
            with session_scope(database, write=True) as conn:
                conn.execute(harm)
                assert first_broken_entry(conn) in ids[2:5]
                raise _UndoneError
        except _UndoneError:
            continue


class _UndoneError(Exception):
    """Ends a transaction without its effects."""


@pytest.mark.fault("S54")
def test_entries_written_at_once_still_make_one_chain(database: Database) -> None:
    def write(number: int) -> object:
        with session_scope(database, write=True) as conn:
            append_audit(conn, f"user:{number}", "tested", NOW)
        return number

    assert len(_at_once(10, write)) == 10
    with session_scope(database) as conn:
        assert first_broken_entry(conn) is None


@pytest.mark.fault("S54")
def test_what_is_done_about_access_is_in_the_audit_log_without_addresses(database: Database) -> None:
    with session_scope(database, write=True) as conn:
        create_user(conn, "boss@example.com", "admin", NOW)
        user_id = create_user(conn, "canary-person@example.com", "admin", NOW)
        use_one_time_link(conn, create_one_time_link(conn, user_id, NOW), "h", NOW)
        set_role(conn, user_id, "csm", NOW)
        create_token(conn, "csm", "x", NOW)
        disable_user(conn, user_id, NOW)
        rows = conn.execute(select(AuditEntry)).all()
        actions = [row.action for row in conn.execute(select(AuditEntry.action))]
        assert {"user_created", "link_created", "password_set", "role_changed", "token_created", "user_disabled"} <= set(
            actions
        )
        assert "canary-person" not in repr(rows)
