"""Customer files as spreadsheets write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import BadInput
from webhook_app.commands.customer_csv import MAX_BYTES, BadRow, Row, read_customers

HEADER = b"name,domain,aliases,environment,owner,external_id\n"


def test_rows_are_read_with_their_line_and_only_the_columns_there_are() -> None:
    table = read_customers(b'\xef\xbb\xbfName , Domain\r\nAcme,acme.com\r\n\r\n"Two\nlines",b.com\r\nShort\r\n')
    assert table.rows == (
        Row(2, {"name": "Acme", "domain": "acme.com"}),
        Row(4, {"name": "Two\nlines", "domain": "b.com"}),
        Row(6, {"name": "Short"}),
    )


@pytest.mark.parametrize("aliases", ["a.io;b.io", "a.io | b.io", "a.io b.io", '"a.io, b.io"', " ;a.io;;b.io; "])
def test_aliases_are_separated_by_what_people_write(aliases: str) -> None:
    (row,) = read_customers(HEADER + f"Acme,acme.com,{aliases}".encode()).rows
    assert isinstance(row, Row)
    assert row.cells["aliases"] == ["a.io", "b.io"]


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_semicolons_and_tabs_between_cells_are_understood(mark: str) -> None:
    assert read_customers(f"name{mark}owner\nAcme{mark}Dana".encode()).rows == (Row(2, {"name": "Acme", "owner": "Dana"}),)


def test_a_bad_row_is_named_and_the_others_are_read() -> None:
    table = read_customers(HEADER + b'A,a.com\nB,b.com,,,,,,more\nC,"d"x\nNul\0,n.com\nD,d.com\n')
    assert table.rows == (
        Row(2, {"name": "A", "domain": "a.com"}),
        BadRow(3, "has 8 cells, the header 6"),
        BadRow(4, "',' expected after '\"'"),
        BadRow(5, "holds a NUL"),
        Row(6, {"name": "D", "domain": "d.com"}),
    )


def test_a_quotation_mark_that_is_never_closed_is_named_where_it_opens() -> None:
    rows = read_customers(b'name,domain\nA,a.com\nB,"open\nC,c.com\n').rows
    assert rows == (Row(2, {"name": "A", "domain": "a.com"}), BadRow(3, "a quotation mark is never closed"))


def test_unknown_columns_are_named() -> None:
    assert read_customers(b"name,domian\nA,a.com").unknown == ("domian",)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "line 1: no column `name`"),
        (b"domain\na.com", "line 1: no column `name`"),
        (b"name,name\nA,B", "twice"),
        (b"name\nA\nM\xfcller", "line 3: the file is not UTF-8"),
        ("name\nA".encode("utf-16"), "UTF-16"),
        (b"x" * (MAX_BYTES + 1), "more than 64 MB"),
    ],
    ids=["empty", "no-name", "twice", "latin-1", "utf-16", "huge"],
)
def test_a_file_that_cannot_be_read_says_why(raw: bytes, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        read_customers(raw)


@given(st.binary(max_size=300))
def test_no_file_raises_anything_but_bad_input(tail: bytes) -> None:
    for raw in (tail, HEADER + tail):
        try:
            table = read_customers(raw)
        except BadInput:
            continue
        assert all(row.line >= 2 for row in table.rows)
