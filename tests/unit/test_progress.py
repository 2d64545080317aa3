"""The progress bar: what it says, and that it never disturbs the run."""

import io

from hypothesis import given
from hypothesis import strategies as st

from webhook_app.commands.progress import Progress, line


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Gone(Terminal):
    """A terminal that was closed."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError


def test_a_line_tells_done_expected_and_the_time_left() -> None:
    assert line("reading", 1200, 3600, 60) == f"{'reading':<12} [{'#' * 9}{'·' * 19}]     1,200 of about 3,600  2:00 left"
    assert line("reading", 7, None, 60) == "reading      7"
    assert line("reading", 10, 5, 60).endswith("10 of about 10")


@given(st.text(max_size=9), st.integers(0, 10**9), st.none() | st.integers(0, 10**9), st.floats(0, 10**6))
def test_a_line_can_always_be_drawn(phase: str, done: int, expected: int | None, elapsed: float) -> None:
    assert f"{done:,}" in line(phase, done, expected, elapsed)


def test_a_terminal_shows_one_moving_line_per_phase_and_a_log_only_the_phases() -> None:
    terminal, log = Terminal(), io.StringIO()
    for out in (terminal, log):
        progress = Progress(out)
        for phase in ("reading", "recomputing"):
            for done in range(3):
                progress(phase, done, 2)
        progress.end()
    assert terminal.getvalue().count("\n") == 2
    assert "2 of about 2" in terminal.getvalue()
    assert log.getvalue() == "reading …\nrecomputing …\n"


def test_a_closed_terminal_does_not_stop_the_run() -> None:
    progress = Progress(Gone())
    progress("reading", 1, 2)
    progress("reading", 2, 2)
    progress.end()
