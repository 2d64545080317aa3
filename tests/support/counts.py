"""Counts in words, for what a run prints at its end."""

from collections.abc import Mapping

ALWAYS = ("histories", "diverged")


def in_words(counts: Mapping[str, int]) -> str:
    """`1,700 histories, 0 diverged, 51,204 events, …`: the outcome, then the commonest; what never happened isn't named."""
    first = [(name, counts[name]) for name in ALWAYS if name in counts]
    others = sorted(((name, n) for name, n in counts.items() if n and name not in ALWAYS), key=lambda pair: -pair[1])
    return ", ".join(f"{number:,} {name}" for name, number in [*first, *others])
