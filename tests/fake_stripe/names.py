"""Plausible companies and people, all invented. Domains end in reserved or clearly invented names of ours."""

import random
from typing import NamedTuple

_FIRST = (
    "Alder", "Amber", "Anchor", "Argon", "Aspen", "Atlas", "Aurora", "Basalt", "Beacon", "Birch", "Blue Harbor", "Bramble",
    "Bright",
    "Cardinal", "Cedar", "Cinder", "Clover", "Cobalt", "Copper", "Coral", "Crescent", "Delta", "Drift", "Echo", "Ember",
    "Falcon",
    "Fern", "Flint", "Forge", "Garnet", "Glacier", "Granite", "Harbor", "Hazel", "Helio", "Heron", "Indigo", "Iris", "Juniper",
    "Kestrel", "Keystone", "Lantern", "Larch", "Linden", "Lumen", "Maple", "Marble", "Meridian", "Mosaic", "Nimbus",
    "North Star",
    "Oak", "Onyx", "Opal", "Orbit", "Osprey", "Paper Kite", "Pine", "Pixel", "Prairie", "Quarry", "Quill", "Raven", "Ridge",
    "River",
    "Saffron", "Sage", "Sierra", "Silver", "Slate", "Sparrow", "Summit", "Tandem", "Terra", "Thistle", "Tidal", "Topaz",
    "Umber", "Vale", "Vector", "Velvet", "Willow", "Wren", "Zephyr")  # fmt: skip
_SECOND = (
    "Analytics", "Labs", "Systems", "Health", "Freight", "Foods", "Robotics", "Studios", "Logistics", "Energy", "Media",
    "Insurance",
    "Software", "Dental", "Travel", "Legal", "Capital", "Learning", "Retail", "Security", "Works", "Bio", "Motors", "Homes",
    "Data")  # fmt: skip
_PEOPLE = ("Ada", "Amir", "Ana", "Ben", "Bo", "Carla", "Chen", "Dara", "Elif", "Emil", "Fatou", "Georg", "Hana", "Ines", "Ivo",
           "Jonas",
           "Kemal", "Lena", "Luca", "Maja", "Mei", "Nadia", "Noor", "Omar", "Petra", "Ravi", "Rosa", "Sofia", "Tomas",
           "Yara")  # fmt: skip
_FAMILY = ("Abel", "Berg", "Castro", "Dumont", "Eriksen", "Fischer", "Garcia", "Haddad", "Ito", "Jansen", "Kim", "Lopez",
           "Moreau", "Novak", "Okafor", "Patel", "Rossi", "Silva", "Tanaka", "Weber")  # fmt: skip
_SUFFIXES = ("com", "com", "com", "io", "co", "dev", "eu", "co.uk", "de")
PERSONAL = ("gmail.com", "outlook.com", "icloud.com", "yahoo.com", "proton.me")
OWNERS = ("Maya Lindqvist", "Daniel Ortega", "Priya Raman", "Tom Becker", "Aiko Mori", "Sam Whitfield")


class Company(NamedTuple):
    """A company and where it lives."""

    name: str
    domain: str
    country: str
    currency: str


_PLACES = {"co.uk": ("GB", "gbp"), "de": ("DE", "eur"), "eu": ("FR", "eur")}


def company(number: int, rng: random.Random) -> Company:
    """Company `number`: always the same name for a number; names repeat with a numeral once all are used."""
    far_east = _SUFFIXES[number % len(_SUFFIXES)] == "dev" and rng.random() < 0.5
    return company_of(number, far_east=far_east)


def company_of(number: int, *, far_east: bool) -> Company:
    """Company `number`, with some of those that could be anywhere in Japan."""
    pairs = len(_FIRST) * len(_SECOND)
    place = (number * 7919) % pairs  # a prime: neighbours in number aren't neighbours in the alphabet
    first, second = _FIRST[place // len(_SECOND)], _SECOND[place % len(_SECOND)]
    again = number // pairs
    name = f"{first} {second}" + (f" {again + 1}" if again else "")
    suffix = _SUFFIXES[number % len(_SUFFIXES)]
    country, currency = _PLACES.get(suffix, ("US", "usd"))
    if suffix == "dev" and far_east:
        country, currency = "JP", "jpy"
    domain = name.lower().replace(" ", "") + "." + suffix
    return Company(name, domain, country, currency)


def person(rng: random.Random) -> str:
    """First and family name."""
    return f"{rng.choice(_PEOPLE)} {rng.choice(_FAMILY)}"


def address(name: str, domain: str) -> str:
    """An e-mail address of a person."""
    return f"{name.lower().replace(' ', '.')}@{domain}"
