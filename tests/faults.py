"""`make faults`: the rows of the fault catalogue (tests/faults.toml) and the tests that name them, from the sources alone.

A test names rows with `@pytest.mark.fault("F17", "F38")` (on itself, its class, its module's `pytestmark` or one of its
parameters); what isn't pytest's (benchmarks, chaos) with `FAULTS = ("F15",)`.
"""

import ast
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parent
ROWS = TESTS / "faults.toml"
LATER = 0


class Row(NamedTuple):
    """A row of the catalogue. `by`: the issue that brings it, `LATER` when none has claimed it yet."""

    title: str
    by: int


class Mark(NamedTuple):
    """A test that names a row: `where` is `path::name`."""

    row: str
    where: str


def rows(path: Path = ROWS) -> dict[str, Row]:
    """All rows by id."""
    return {row: Row(entry["title"], entry["by"]) for row, entry in tomllib.loads(path.read_text()).items()}


def marks(root: Path = TESTS) -> list[Mark]:
    """Every mark in the sources below `root`."""
    found = []
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root.parent).as_posix()
        found += [Mark(row, f"{name}::{place}" if place else name) for row, place in _in_tree(ast.parse(path.read_text()))]
    return found


def _in_tree(tree: ast.AST, inside: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    for node in ast.iter_child_nodes(tree):
        names = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        yield from ((row, "::".join(inside)) for row in _named(node))
        yield from _in_tree(node, (*inside, node.name) if names else inside)


def _named(node: ast.AST) -> list[str]:
    """The rows that this very node names."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "fault":
        return [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == "FAULTS" for to in node.targets):
        return [part.value for part in ast.walk(node.value) if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    return []


def by_row(known: Iterable[str], found: Iterable[Mark]) -> dict[str, list[str]]:
    """The tests of each row, each once."""
    tests: dict[str, dict[str, None]] = {row: {} for row in known}
    for mark in found:
        tests.setdefault(mark.row, {})[mark.where] = None
    return {row: list(where) for row, where in tests.items()}


def table(known: dict[str, Row], tests: dict[str, list[str]], *, full: bool) -> Iterator[str]:
    """The table in lines: a row's tests (all with `full`, else the first), then what has none."""
    for row, (title, _) in known.items():
        where = tests[row]
        if where:
            more = f" (+{len(where) - 1})" if len(where) > 1 and not full else ""
            yield f"{row}  {len(where):3}  {title:54}  {where[0]}{more}"
            yield from (f"{'':65}{name}" for name in where[1:] if full)
        else:
            yield f"{row}    -  {title:54}  {'later' if known[row].by == LATER else 'NO TEST'}"
    for letter, what in (("F", "faults"), ("S", "security"), ("I", "invariants")):
        mine = [row for row in known if row.startswith(letter)]
        named = [row for row in mine if tests[row]]
        yield f"{what}: {len(named)} of {len(mine)} rows have tests; without: {_ids(mine, named)}"


def _ids(mine: list[str], named: list[str]) -> str:
    return ", ".join(row for row in mine if row not in named) or "none"


def missing(known: dict[str, Row], tests: dict[str, list[str]]) -> list[str]:
    """Rows that an issue claims and no test names."""
    return [row for row, entry in known.items() if entry.by != LATER and not tests[row]]


def main(arguments: list[str]) -> int:
    """Print the table; 1 when a claimed row has no test, or a test names a row that isn't there."""
    known = rows()
    tests = by_row(known, marks())
    unknown = sorted(tests.keys() - known.keys())
    print("\n".join(table(known, tests, full="--all" in arguments)))
    if lacking := missing(known, tests):
        print(f"error: no test names {', '.join(lacking)}")
    if unknown:
        print(f"error: no such rows: {', '.join(unknown)}")
    return 1 if lacking or unknown else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
