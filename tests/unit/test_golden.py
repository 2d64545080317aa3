"""The golden cases given with the rules, and our own for what they leave open."""

import json
from pathlib import Path

import pytest

from tests.unit.explained import differences

_HERE = Path(__file__).parents[1]
_CASES = sorted((_HERE / "golden").glob("*.json")) + sorted((_HERE / "golden_own").glob("*.json"))


@pytest.mark.parametrize("path", _CASES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_golden_case_comes_out_as_expected(path: Path) -> None:
    case = json.loads(path.read_text())
    assert differences(case) == [], case["why"]


def test_there_are_golden_cases() -> None:
    assert len(_CASES) >= 75
