"""Pages of the list: every row exactly once and in order, whatever the data; filters, totals, history, age of evidence."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, update

from models.domain.types import Summary
from models.store.connections import ConnectionRecord
from models.store.readmodel import (
    SORTS,
    Filter,
    ListRow,
    changes_mark,
    count_changed_elsewhere,
    load_breakdown,
    load_changes,
    load_customer_view,
    load_page,
    load_totals,
)
from models.store.session import Database, session_scope
from models.tables import Connection as ConnectionTable
from models.tables import CustomerChange, CustomerRow
from tests.support import only_postgres
from tests.support.environment import NOW
from tests.support.seeds import add_change, add_customer, add_match, customer_values, seed_customers, summary_of

_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=8)
_MRR = st.one_of(st.none(), st.sampled_from([0, 1, 4900, 4900, 2**62]), st.integers(-10, 10))
_STATUS = st.sampled_from(["paid", "past_due", "failing", "none"])


def walk(conn: object, chosen: Filter, sort: str, limit: int) -> list[ListRow]:
    """The whole list, page by page."""
    found: list[ListRow] = []
    after = None
    for _ in range(500):
        rows, after = load_page(conn, chosen, sort, after, limit)  # type: ignore[arg-type]
        assert len(rows) <= limit
        found += rows
        if after is None:
            return found
        assert rows, "a page that isn't the last holds something"
    raise AssertionError("the pages never end")


def in_order(rows: list[tuple[int, str, int | None]], sort: str) -> list[int]:
    """The ids as the order says, worked out the plain way: unknown MRR last, both ways."""
    down = sort.startswith("-")
    if sort.endswith("name"):
        return [row[0] for row in sorted(rows, key=lambda row: (row[1].casefold().encode(), row[0]), reverse=down)]
    known = sorted((row for row in rows if row[2] is not None), key=lambda row: (row[2], row[0]), reverse=down)
    unknown = sorted((row for row in rows if row[2] is None), key=lambda row: row[0], reverse=down)
    return [row[0] for row in known + unknown]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(people=st.lists(st.tuples(_NAMES, _MRR, _STATUS), max_size=25), sort=st.sampled_from(SORTS), limit=st.integers(1, 9))
def test_walking_the_pages_gives_every_customer_once_and_in_order(
    database: Database, people: list[tuple[str, int | None, str]], sort: str, limit: int
) -> None:
    with session_scope(database, write=True) as conn:
        conn.execute(delete(CustomerRow))
        rows = []
        for name, mrr, status in people:
            row_id = add_customer(conn, name, summary_of(mrr=mrr, payment_status=status), now=NOW)
            rows.append((row_id, name, mrr, status))
        walked = walk(conn, Filter(), sort, limit)
        assert [row.id for row in walked] == in_order([row[:3] for row in rows], sort)
        failing = Filter(statuses=("failing", "past_due"))
        narrowed = [row for row in rows if row[3] in failing.statuses]
        assert [row.id for row in walk(conn, failing, sort, limit)] == in_order([row[:3] for row in narrowed], sort)
        totals = load_totals(conn, failing)
        assert totals.customers == len(narrowed)
        assert totals.mrr == sum(row[2] or 0 for row in narrowed)
        assert totals.unknown == sum(row[2] is None for row in narrowed)
        parts = load_breakdown(conn, failing)
        assert {status: part.customers for status, part in parts.items()} == {
            status: sum(row[3] == status for row in rows) for status in ("paid", "past_due", "failing", "none")
        }


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=_NAMES, needle=_NAMES, domain=_NAMES)
def test_search_finds_exactly_the_names_and_domains_that_hold_the_text(
    database: Database, name: str, needle: str, domain: str
) -> None:
    needle = needle.strip()
    if not needle or "@" in needle or not domain.isascii() or not needle.isascii():
        return
    with session_scope(database, write=True) as conn:
        conn.execute(delete(CustomerRow))
        add_customer(conn, name, now=NOW, domain=domain)
        expected = needle.casefold() in name.casefold() or needle.lower() in domain.lower()
        assert bool(load_page(conn, Filter(q=needle), "name", None, 10)[0]) is expected


def test_search_takes_an_address_a_stripe_id_or_its_beginning(database: Database, connection_record: ConnectionRecord) -> None:
    with session_scope(database, write=True) as conn:
        acme = add_customer(conn, "Acme 100%", summary_of(stripe_customer_id="cus_AbcDef"), now=NOW, domain="acme.com")
        other = add_customer(conn, "Other_Co", summary_of(stripe_customer_id="cus_XyzDef"), now=NOW, domain="other.com")
        add_match(conn, connection_record.id, "cus_second", "matched", "domain", customer_id=other)

        def found(q: str) -> list[int]:
            return [row.id for row in load_page(conn, Filter(q=q), "name", None, 10)[0]]

        assert found("dana@ACME.com") == [acme]
        assert found("cus_AbcDef") == found("cus_Abc") == [acme]
        assert found("cus_second") == [other], "a Stripe customer that didn't win is found as well"
        assert found("0%") == [acme], "wildcards are text"
        assert found("r_c") == [other]
        assert found("cus_%") == found("'; DROP TABLE customers; --") == []


def test_plan_filters_take_the_plan_or_its_label(database: Database) -> None:
    with session_scope(database, write=True) as conn:
        monthly = add_customer(conn, "A", summary_of(plan="growth_monthly", plan_label="Growth"), now=NOW)
        yearly = add_customer(conn, "B", summary_of(plan="growth_annual", plan_label="Growth"), now=NOW)
        add_customer(conn, "C", summary_of(plan="starter", plan_label="Starter"), now=NOW, environment="staging")

        def found(**chosen: object) -> list[int]:
            return [row.id for row in load_page(conn, Filter(**chosen), "name", None, 10)[0]]  # type: ignore[arg-type]

        assert found(plans=("Growth",)) == [monthly, yearly]
        assert found(plans=("growth_annual",)) == [yearly]
        assert len(found(plans=("Growth", "starter"))) == 3
        assert len(found(environment="staging")) == 1


def test_the_age_of_evidence_is_the_later_of_its_own_and_the_last_complete_scan(
    database: Database, connection_record: ConnectionRecord
) -> None:
    with session_scope(database, write=True) as conn:
        old = add_customer(conn, "A", now=NOW)
        staging = add_customer(conn, "B", now=NOW, environment="staging")

        def as_of(row_id: int) -> int | None:
            view = load_customer_view(conn, row_id)
            assert view is not None
            return view.row.as_of

        assert as_of(old) == NOW
        conn.execute(update(ConnectionTable).values(caught_up_to=NOW + 500))
        assert as_of(old) == NOW + 500
        assert as_of(staging) == NOW, "a live connection says nothing about staging"


def test_history_comes_newest_first_in_pages(database: Database) -> None:
    with session_scope(database, write=True) as conn:
        customer = add_customer(conn, "A", now=NOW)
        for number in range(7):
            add_change(conn, customer, "mrr", "expansion", number, number + 1, now=NOW + number, amount=1)
        first = load_changes(conn, customer, None, 4)
        rest = load_changes(conn, customer, first[-1].id, 10)
        assert [change.after for change in first + rest] == [7, 6, 5, 4, 3, 2, 1]


@only_postgres
@pytest.mark.fault("F48")
def test_a_change_committed_late_under_a_lower_number_is_not_missed(database: Database) -> None:
    with session_scope(database, write=True) as conn:
        customer = add_customer(conn, "A", now=NOW)
    values = {"customer_id": customer, "at_ms": NOW * 1000, "field": "plan", "kind": "changed", "cause": "event", "version": 1}
    with session_scope(database, write=True) as slow:
        slow.execute(insert(CustomerChange).values(**values))
        with session_scope(database, write=True) as quick:
            quick.execute(insert(CustomerChange).values(**values))
        with session_scope(database) as conn:
            seen = changes_mark(conn)
    with session_scope(database) as conn:
        assert changes_mark(conn) != seen


def test_changes_outside_the_rows_shown_are_counted_once_per_customer_and_only_within_the_filter(database: Database) -> None:
    with session_scope(database, write=True) as conn:
        shown, other, paid = (
            add_customer(conn, name, summary_of(payment_status=status), now=NOW)
            for name, status in (("A", "failing"), ("B", "failing"), ("C", "paid"))
        )
        for customer in (shown, other, other, paid):
            add_change(conn, customer, "plan", "changed", "a", "b", now=NOW)
        assert count_changed_elsewhere(conn, Filter(statuses=("failing",)), 0, [shown]) == 1
        assert count_changed_elsewhere(conn, Filter(), 0, [shown]) == 2
        last = int(changes_mark(conn).split(".")[0])
        assert count_changed_elsewhere(conn, Filter(), last, []) == 0


def test_ids_that_no_customer_has_find_none(database: Database) -> None:
    with session_scope(database, write=True) as conn:
        add_customer(conn, "A", now=NOW)
        assert [load_customer_view(conn, number) for number in (0, -1, 2**63, 2**80, 999_999)] == [None] * 5


@pytest.mark.fault("S70")
@pytest.mark.parametrize("sort", SORTS)
def test_a_page_of_a_large_list_is_read_along_an_index(database: Database, sort: str) -> None:
    with session_scope(database, write=True) as conn:
        seed_customers(conn, 600, now=NOW)
    with session_scope(database, write=True) as conn:
        conn.exec_driver_sql("ANALYZE customers")
        rows, after = load_page(conn, Filter(), sort, None, 100)
        assert len(rows) == 100
        statements: list[tuple[str, object]] = []
        from sqlalchemy import event

        def note(_conn: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
            statements.append((statement, parameters))

        event.listen(database.engine, "before_cursor_execute", note)
        load_page(conn, Filter(), sort, after, 100)
        event.remove(database.engine, "before_cursor_execute", note)
        text, parameters = statements[0]
        if database.on_sqlite:
            plan = str(conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", parameters).all())  # type: ignore[arg-type]
            assert "USING INDEX" in plan
            assert "TEMP B-TREE" not in plan
        else:
            conn.exec_driver_sql("SET LOCAL enable_seqscan = off")
            plan = str(conn.exec_driver_sql(f"EXPLAIN {text}", parameters).all())  # type: ignore[arg-type]
            assert "Index" in plan
            assert "Sort Key" not in plan


def test_a_summary_written_by_an_older_version_still_reads(database: Database) -> None:
    with session_scope(database, write=True) as conn:
        values = customer_values("A", Summary(), now=NOW) | {"summary": '{"plan":"x","a_field_to_come":1}'}
        row_id = int(conn.execute(insert(CustomerRow).values(**values).returning(CustomerRow.id)).scalar_one())
        view = load_customer_view(conn, row_id)
        assert view is not None
        assert view.summary.plan == "x"
