"""Which lines of the code under test an input reaches, by `sys.settrace`: some 30 times slower, so only samples are traced."""

import sys
from collections.abc import Callable, Collection
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, TypeVar

Result = TypeVar("Result")
ROOT = Path(__file__).parents[2]


class Coverage:
    """Lines of the files under `places` (paths below the project's root) that were reached so far."""

    def __init__(self, places: Collection[str]) -> None:
        self._prefixes = tuple(str(ROOT / place) for place in places)
        self._watched: dict[CodeType, bool] = {}
        self.lines: set[tuple[str, int]] = set()
        self._now: set[tuple[str, int]] = set()

    def traced(self, function: Callable[[], Result]) -> tuple[Result, set[tuple[str, int]]]:
        """What `function` returns, and the lines it reached for the first time. It may raise; then nothing counts."""
        self._now = set()
        before = sys.gettrace()
        sys.settrace(self._on_call)
        try:
            result = function()
        finally:
            sys.settrace(before)
        return result, self._now - self.lines

    def _on_call(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        code = frame.f_code
        watched = self._watched.get(code)
        if watched is None:
            watched = self._watched[code] = code.co_filename.startswith(self._prefixes)
        return self._on_line if watched else None

    def _on_line(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line":
            self._now.add((frame.f_code.co_filename, frame.f_lineno))
        return self._on_line
