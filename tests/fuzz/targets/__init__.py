"""The targets by name. Those that need a database are made with one of their own by `make`, or by a test with its fixtures."""

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


DATABASES = ("endpoint", "stored", "stored-postgres")


def names() -> list[str]:
    """All targets."""
    return [*PURE, *DATABASES]


def make(name: str) -> Target:
    """A target, ready to run."""
    if name in PURE:
        return PURE[name]()
    from tests.fuzz.targets.beside import Beside

    return Beside(name)
