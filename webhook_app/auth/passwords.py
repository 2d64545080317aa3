"""Passwords: argon2id, 12 to 128 characters, no composition rules, none of the common ones (FAULTS S27, S28)."""

import threading
import unicodedata
from functools import cache
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST = 12
LONGEST = 128
FEWEST_KINDS = 5  # distinct characters: "aaaaaaaaaaaa" and "121212121212" are guessed first

# OWASP's choice of 46 MiB and one pass is the floor; two passes here, some 60 ms.
_hasher = PasswordHasher(time_cost=2, memory_cost=47_104, parallelism=1)
_at_once = threading.BoundedSemaphore(4)  # sign-ins can't take more than 4 x 46 MiB of a process


def _normal(password: str) -> bytes:
    return unicodedata.normalize("NFKC", password).encode("utf-8", "replace")


def password_problem(password: str, email: str) -> str | None:
    """Why this can't be the password of `email`, in words for its owner; None when it can."""
    plain = unicodedata.normalize("NFKC", password)
    if len(plain) < SHORTEST:
        return f"Use at least {SHORTEST} characters; a few words make a good password."
    if len(plain) > LONGEST:
        return f"Use at most {LONGEST} characters."
    folded = plain.casefold()
    guessable = folded in _common() or folded.rstrip("0123456789!.?") in _common() or len(set(folded)) < FEWEST_KINDS
    if guessable or folded in {email.casefold(), email.partition("@")[0].casefold()}:
        return "This password is among the first that are tried. Choose another."
    return None


def hash_password(password: str) -> str:
    """The argon2id hash to store."""
    with _at_once:
        return _hasher.hash(_normal(password))


def verify_password(stored: str | None, password: str) -> bool:
    """Whether the password is right. An unknown account (`stored` None) takes as long as a known one."""
    if len(password) > LONGEST * 4:
        return False
    with _at_once:
        try:
            _hasher.verify(stored or _nobodys_hash(), _normal(password))
        except (VerificationError, InvalidHashError):
            return False
    return stored is not None


def needs_rehash(stored: str) -> bool:
    """Whether the hash was made with older parameters."""
    return _hasher.check_needs_rehash(stored)


@cache
def _nobodys_hash() -> str:
    return _hasher.hash(b"the password of nobody")


@cache
def _common() -> frozenset[str]:
    text = (Path(__file__).parent / "common_passwords.txt").read_text("utf-8")
    return frozenset(line for line in text.split("\n") if line and not line.startswith("#"))
