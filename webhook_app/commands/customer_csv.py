"""Reading a CSV of our customers: whatever a spreadsheet writes, each row or what is wrong with it, by its line. Pure."""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

from models.errors import BadInput

COLUMNS = ("name", "domain", "aliases", "environment", "owner", "external_id")
MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Row:
    """One customer: its first line in the file (1 is the header), and its cells. A column the file lacks isn't in `cells`."""

    line: int
    cells: dict[str, str | list[str]]


@dataclass(frozen=True)
class BadRow:
    """A row that can't be read, and why."""

    line: int
    problem: str


@dataclass(frozen=True)
class Table:
    """The rows, and the columns of the file that mean nothing to us."""

    rows: tuple[Row | BadRow, ...]
    unknown: tuple[str, ...]


def read_customers(raw: bytes) -> Table:
    """The rows of a CSV file: UTF-8 with or without a byte order mark; commas, semicolons or tabs between the cells.

    Raises:
        BadInput: not UTF-8, no header, no column `name`.
    """
    if len(raw) > MAX_BYTES:
        raise BadInput(f"the file has more than {MAX_BYTES >> 20} MB")
    text = _decoded(raw)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    try:
        header = [cell.strip().lower() for cell in next(reader, [])]
    except csv.Error as error:
        raise BadInput(f"line 1: {error}") from None
    if "name" not in header:
        raise BadInput(f"line 1: no column `name`; the columns are {','.join(COLUMNS)}")
    if len(set(header)) < len(header):
        raise BadInput("line 1: a column stands there twice")
    return Table(tuple(_rows(reader, header)), tuple(name for name in header if name not in COLUMNS))


def _decoded(raw: bytes) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BadInput("the file is UTF-16: save it as CSV UTF-8")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BadInput(f"line {line}: the file is not UTF-8: save it as CSV UTF-8") from None


def _delimiter(text: str) -> str:
    """What stands between the cells of the first line: spreadsheets of many countries write semicolons."""
    first = text.split("\n", 1)[0]
    return max(",;\t", key=first.count)


def _rows(reader: "csv._reader", header: list[str]) -> Iterator[Row | BadRow]:  # type: ignore[name-defined,unused-ignore]
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            unclosed = "end of data" in str(error)  # everything after it was taken for one cell
            yield BadRow(line, "a quotation mark is never closed" if unclosed else str(error))
            continue
        if any(cell.strip() for cell in cells):
            yield _row(line, header, cells)


def _row(line: int, header: list[str], cells: list[str]) -> Row | BadRow:
    if len(cells) > len(header):
        return BadRow(line, f"has {len(cells)} cells, the header {len(header)}")
    if any("\0" in cell for cell in cells):
        return BadRow(line, "holds a NUL")
    named = dict(zip(header, cells, strict=False))
    values: dict[str, str | list[str]] = {name: named[name].strip() for name in COLUMNS if name in named}
    if "aliases" in values:
        values["aliases"] = [alias for alias in re.split(r"[;|,\s]+", named["aliases"]) if alias]
    return Row(line, values)
