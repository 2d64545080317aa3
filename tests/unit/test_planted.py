"""The list of planted bugs is alive: each text still stands where it is to be replaced, and its tests are there."""

import ast
from pathlib import Path

import pytest

from tests.planted import ROOT, Plant, plants


def test_there_are_at_least_25_with_names_of_their_own() -> None:
    names = [plant.name for plant in plants()]
    assert len(names) == len(set(names)) >= 25


@pytest.mark.parametrize("plant", plants(), ids=lambda plant: plant.name)
def test_a_planted_bug_fits_the_code_as_it_is(plant: Plant, tmp_path: Path) -> None:
    source = (ROOT / plant.file).read_text()
    (tmp_path / plant.file).parent.mkdir(parents=True)
    (tmp_path / plant.file).write_text(source)
    plant.into(tmp_path)
    planted = (tmp_path / plant.file).read_text()
    assert planted != source
    if plant.file.endswith(".py"):
        assert ast.dump(ast.parse(planted)) != ast.dump(ast.parse(source))
    assert all((ROOT / name).exists() for name in plant.tests if name.startswith("tests/"))
