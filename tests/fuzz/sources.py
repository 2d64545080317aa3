"""Where fresh inputs come from: mutations of templates, and now and then something huge."""

import random
from collections.abc import Callable, Sequence

from tests.fuzz.mutate import Mutator
from tests.fuzz.spans import Template

Huge = Callable[[random.Random], bytes]


class JsonSource:
    """Mutated JSON. `huge` makes large inputs, one in `huge_one_in`."""

    def __init__(
        self,
        templates: Sequence[Template],
        rng: random.Random,
        *,
        noise: float = 0.03,
        huge: Sequence[Huge] = (),
        huge_one_in: int = 5_000,
    ) -> None:
        self._rng = rng
        self._mutator = Mutator(templates, rng, noise=noise)
        self._huge = huge
        self._share = 1 / huge_one_in if huge else 0.0

    def next(self) -> tuple[bytes, bool]:
        """An input, and whether it may be kept."""
        if self._share and self._rng.random() < self._share:
            return self._rng.choice(self._huge)(self._rng), False
        data, template = self._mutator.next()
        return data, not template.borrowed

    def learn(self, data: bytes) -> None:
        """One more to make others from."""
        self._mutator.add(Template(data))
