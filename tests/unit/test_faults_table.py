"""`make faults`: markers name rows that exist, and every row that an issue claims has a test."""

import subprocess
import sys
from pathlib import Path

from tests.faults import Mark, Row, by_row, marks, missing, rows, table

ROOT = Path(__file__).parents[2]


def test_every_marker_names_a_row_that_exists() -> None:
    known = rows()
    assert sorted({mark for mark in marks() if mark.row not in known}) == []


def test_every_row_that_an_issue_claims_has_a_test() -> None:
    known = rows()
    assert missing(known, by_row(known, marks())) == []


def test_the_rows_are_numbered_without_a_gap() -> None:
    wanted = [f"{letter}{n:02}" for letter, last in (("F", 93), ("S", 70)) for n in range(1, last + 1)]
    assert [row for row in rows() if row[0] in "FS"] == wanted


def test_marks_are_found_wherever_pytest_takes_them(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(
        "import pytest\n"
        'pytestmark = pytest.mark.fault("F01")\n'
        'FAULTS = ("F02",)\n'
        '@pytest.mark.fault("F03", "F04")\n'
        "def test_a(): ...\n"
        "class TestB:\n"
        '    @pytest.mark.parametrize("n", [pytest.param(1, marks=pytest.mark.fault("F05"))])\n'
        "    def test_c(self, n): ...\n"
    )
    where = f"{tmp_path.name}/test_x.py"
    assert marks(tmp_path) == [
        Mark("F01", where),
        Mark("F02", where),
        Mark("F03", f"{where}::test_a"),
        Mark("F04", f"{where}::test_a"),
        Mark("F05", f"{where}::TestB::test_c"),
    ]


def test_the_table_says_which_rows_have_none() -> None:
    known = {"F01": Row("one", 3), "F02": Row("two", 3), "F03": Row("three", 0)}
    lines = list(table(known, by_row(known, [Mark("F01", "a::b"), Mark("F01", "a::c")]), full=False))
    assert "a::b (+1)" in lines[0]
    assert "NO TEST" in lines[1]
    assert "later" in lines[2]
    assert lines[3] == "faults: 1 of 3 rows have tests; without: F02, F03"


def test_the_command_prints_the_table() -> None:
    done = subprocess.run([sys.executable, "-m", "tests.faults"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "faults: " in done.stdout
    assert "F93" in done.stdout
