"""The targets by name. Those that need a server or a database of their own are made where there is one (`beside`)."""

from collections.abc import Callable

from tests.fuzz.engine import Target
from tests.fuzz.targets.envelope import EnvelopeTarget
from tests.fuzz.targets.framing import FramingTarget
from tests.fuzz.targets.mrr import MrrTarget
from tests.fuzz.targets.reader import ReaderTarget
from tests.fuzz.targets.verifier import VerifierTarget

PURE: dict[str, Callable[[], Target]] = {
    "verifier": VerifierTarget,
    "envelope": EnvelopeTarget,
    "reader": ReaderTarget,
    "mrr": MrrTarget,
    "framing": FramingTarget,
}


def names() -> list[str]:
    """All targets."""
    return [*PURE]


def make(name: str) -> Target:
    """A target, ready to run."""
    return PURE[name]()
