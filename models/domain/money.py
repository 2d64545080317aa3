"""Exact money: minor units, fractions, and the one rounding at the end (RULES, opening and 5.5).

Inside the rules an amount is a `Fraction` of minor units of its currency; floats never touch it.
"""

from fractions import Fraction

# Stripe's own table (STRIPE 7.2). No ISO table: MGA, ISK and UGX differ from it.
_WHOLE = frozenset(["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"])
_THOUSANDTHS = frozenset(["BHD", "JOD", "KWD", "OMR", "TND"])
_SHOWN_PLACES = 6
_LARGEST_CENTS = 2**63 - 1


def divisor(currency: str) -> int:
    """How many minor units make one unit of `currency`, as Stripe sends it (RULES 5.5)."""
    code = currency.upper()
    if code in _WHOLE:
        return 1
    return 1000 if code in _THOUSANDTHS else 100


def whole_cents(cents: Fraction) -> int:
    """Whole cents, half-even: the only rounding there is, once per customer after summing."""
    return round(cents)


def storable(cents: int) -> bool:
    """Whether a figure fits the 64 bits of both databases; beyond them it counts as unknown."""
    return -_LARGEST_CENTS <= cents <= _LARGEST_CENTS


def shown(amount: Fraction) -> str:
    """An amount as plain decimal text, exact where it ends within six places, else rounded to six for display."""
    if amount.denominator == 1:
        return str(amount.numerator)
    millionths = round(amount * 10**_SHOWN_PLACES)
    whole, part = divmod(abs(millionths), 10**_SHOWN_PLACES)
    sign = "-" if millionths < 0 else ""
    return f"{sign}{whole}.{part:0{_SHOWN_PLACES}d}".rstrip("0").rstrip(".")


def dollars(cents: int) -> str:
    """US cents for a header line: `$1,400`, and the cents only when there are any: `$1,400.50` (RULES 8)."""
    sign = "-" if cents < 0 else ""
    whole, part = divmod(abs(cents), 100)
    return f"{sign}${whole:,}.{part:02d}" if part else f"{sign}${whole:,}"
