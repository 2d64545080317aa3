"""Hosts and addresses, normalised the same way on both sides of a match (RULES 2)."""

import re
from functools import cache, lru_cache
from importlib import resources

import idna
from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email
from publicsuffixlist import PublicSuffixList

_PORT = re.compile(r":\d*$")
_ASCII_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_LONGEST_HOST = 253
_LONGEST_PLAIN, _LONGEST_LOCAL, _LONGEST_LABEL = 200, 64, 63
_PLAIN = re.compile(r"([A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*)@((?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,24})")
_SPECIAL = tuple(SPECIAL_USE_DOMAIN_NAMES)
"""Names kept for tests and local networks: the library knows which of them pass."""


@lru_cache(maxsize=16384)
def normalise_host(text: str) -> str | None:
    """The host in `text`: trimmed, lower-cased, without scheme, path, port, `www.` and trailing dot, in ASCII (IDNA).

    A leading `@` is dropped (people write `@acme.com`). None when no host is left, or `text` is an e-mail address.
    """
    host = text.strip().lower()
    host = host.partition("://")[2] if "://" in host else host.removeprefix("//")
    for end in "/?#":
        host = host.partition(end)[0]
    host = _PORT.sub("", host.removeprefix("@")).strip().rstrip(".")
    shorter = host.removeprefix("www.")
    # "www.com" is a name of its own, not the bare suffix "com".
    return _ascii(shorter if "." in shorter else host)


def normalise_name(text: str) -> str | None:
    """A customer's domain or alias as it is compared: a host, or a full e-mail address (lower-cased, nothing else)."""
    address = text.strip().lower()
    if "@" in address[1:] and "://" not in address:
        return address
    return normalise_host(text)


def registrable_domain(host: str) -> str | None:
    """The registrable domain of a normalised host by the public suffix list, private section on; None for a suffix."""
    found = _suffixes().privatesuffix(host)
    return found if isinstance(found, str) else None


@lru_cache(maxsize=16384)
def email_host(email: str, testing: bool = False) -> str | None:
    """The normalised host of a valid address, the part after the last `@`; None for an invalid address.

    `testing` lets names under `.test` pass, which a sandbox may well hold.
    """
    address = email.strip()
    plain = _plain_host(address)
    if plain is not None:
        return normalise_host(plain)
    try:
        validate_email(address, check_deliverability=False, test_environment=testing)
    except (EmailNotValidError, UnicodeError):
        return None
    return normalise_host(address.rpartition("@")[2])


def _plain_host(address: str) -> str | None:
    """The host of an address so plain that the library can only agree (a test holds the two together); None: ask it.

    A full sync of an account spent a tenth of its time in the library.
    """
    if len(address) > _LONGEST_PLAIN:
        return None
    found = _PLAIN.fullmatch(address)
    if found is None or len(found[1]) > _LONGEST_LOCAL:
        return None
    host = found[2].lower()
    special = host.endswith(_SPECIAL) or max(map(len, host.split("."))) > _LONGEST_LABEL
    return None if special or "--" in host else host


def is_own(host: str, own_domains: tuple[str, ...]) -> bool:
    """Whether `host` is one of the company's own domains or below one."""
    return any(parent in _host_set(own_domains) for parent in _parents(host))


def is_personal(host: str, allow: tuple[str, ...], deny: tuple[str, ...]) -> bool:
    """Whether `host` belongs to a mail provider or is shared by strangers, itself or through a parent.

    The admin's lists beat ours, and the closest entry beats a wider one; in both lists at once it is personal.
    """
    for parent in _parents(host):
        if parent in _host_set(deny):
            return True
        if parent in _host_set(allow):
            return False
    return any(parent in personal_domains() for parent in _parents(host))


@cache
def personal_domains() -> frozenset[str]:
    """The reviewed list that ships with the product, read once."""
    text = resources.files("models.domain").joinpath("personal_domains.txt").read_text("utf-8")
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return frozenset(line for line in lines if line)


def _parents(host: str) -> list[str]:
    """`host`, then each name above it: a.b.com, b.com, com."""
    labels = host.split(".")
    return [".".join(labels[start:]) for start in range(len(labels))]


@lru_cache(maxsize=64)
def _host_set(domains: tuple[str, ...]) -> frozenset[str]:
    return frozenset(host for domain in domains if (host := normalise_host(domain)))


def _ascii(host: str) -> str | None:
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            return None
    if len(host) > _LONGEST_HOST or not _ASCII_HOST.fullmatch(host):
        return None
    return host


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()
