"""Planted bugs (FAULTS 8.5): deliberate weakenings of the code, each of which the tests must catch.

plants.toml lists them; `make planted` plants one at a time in a copy of the tree and runs the tests that are to fail.
"""

import tomllib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("plants.toml")


class Plant(NamedTuple):
    """One bug: in `file` the text `old` becomes `new`; pytest with `tests` must then fail."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def into(self, root: Path) -> None:
        """Plant it in the tree at `root`.

        Raises:
            LookupError: the text doesn't stand there exactly once.
        """
        path = root / self.file
        text = path.read_text()
        if text.count(self.old) != 1:
            raise LookupError(f"{self.file} holds the text of {self.name!r} {text.count(self.old)} times")
        path.write_text(text.replace(self.old, self.new))


def plants() -> list[Plant]:
    """All of them."""
    entries = tomllib.loads(LIST.read_text())["plant"]
    return [Plant(one["name"], one["file"], one["old"], one["new"], tuple(one["tests"])) for one in entries]
