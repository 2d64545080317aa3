"""`verify`: a header and a body. It must never raise, and say `ok` when and only when a plain reading of the rules does."""

import hashlib
import hmac
import random
from typing import get_args

from tests.fuzz.seeds import compact, events
from webhook_app.verify import Verdict, verify

NOW = 1_795_000_000
SECRETS = (b"whsec_fuzz_new_0123456789", b"whsec_fuzz_old_9876543210")
_VERDICTS = frozenset(get_args(Verdict))
_WRONG = b"0" * 64
_MARKS = (b"<0>", b"<1>", b"<U>")  # stand for a true signature with the new secret, the old one, in capitals
_PARTS = (
    b"t=1795000000", b"t=1794999700", b"t=1794999699", b"t=1795000300", b"t=1795000301", b"t=0", b"t=-1", b"t=1795000000.5",
    b"t=+1795000000", b"t= 1795000000", b"t=01795000000", b"t=999999999999", b"t=9999999999999", b"t=", b"t", b"T=1795000000",
    b"t=1795000000 ", b"t=\xd9\xa1", b"t==1795000000", b"v1=<0>", b"v1=<1>", b"v1=<U>", b"v0=<0>", b"V1=<0>", b" v1=<0>",
    b"v1=<0> ", b"v1=<0>0", b"v1= <0>", b"v1=" + _WRONG, b"v1=", b"v1", b"=", b"", b"v1=\xff", b"v1=<0>;v1=<1>",
    b"v1=" + b"g" * 64,
    b"\tv1=<0>\t", b"v1=<0>\n", b"v1=0x" + b"0" * 62, b"v2=<0>", b"v1==<0>",
)  # fmt: skip
_NOISE = (b"\x00", b"\xff", b",", b"=", b" ", b"\n", b"t=1", b"v1=", b"\xc3\xa9", b"0")


class VerifierSource:
    """Headers from parts, most of them with a true signature somewhere, before bodies of every kind."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._bodies = [b"", b"{}", b"\xff\xfe\x00", b"a\nb", compact(events()[0])[:200]]

    def next(self) -> tuple[bytes, bool]:
        """`header NUL body`."""
        rnd = self._rng.random
        body = self._bodies[int(rnd() * len(self._bodies))]
        if rnd() < 0.3:
            parts = [b"t=%d" % (NOW + int(rnd() * 800) - 400), b"v1=%b" % _MARKS[int(rnd() * 3)]]
        else:
            parts = [_PARTS[int(rnd() * len(_PARTS))] for _ in range(1 + int(rnd() * 4))]
        if rnd() < 0.03:
            parts *= int(rnd() * 40)
        header = b",".join(parts)
        if rnd() < 0.3:
            at, token = int(rnd() * (len(header) + 1)), _NOISE[int(rnd() * len(_NOISE))]
            header = header[:at] + token + header[at + int(rnd() * 2) :]
        if rnd() < 0.001:
            header += rnd().hex().encode() * int(rnd() * 10_000)
        return header + b"\x00" + body, True

    def learn(self, data: bytes) -> None:
        """Its body serves again."""
        self._bodies.append(data.rpartition(b"\x00")[2][:300])


class VerifierTarget:
    """`webhook_app.verify`."""

    name = "verifier"
    watched = ("webhook_app/verify.py",)

    def source(self, rng: random.Random) -> VerifierSource:
        """Fresh headers and bodies."""
        return VerifierSource(rng)

    def run(self, data: bytes) -> tuple[str, ...]:
        """The verdict, which must be the one that the plain reading gives."""
        header, _, body = data.rpartition(b"\x00")
        times = [part.strip(b" \t")[2:] for part in header.split(b",") if part.strip(b" \t").startswith(b"t=")]
        stamp = times[0] if times else b"0"
        true = [hmac.new(secret, stamp + b"." + body, hashlib.sha256).hexdigest().encode() for secret in SECRETS]
        for mark, digest in zip(_MARKS, (*true, true[0].upper()), strict=True):
            header = header.replace(mark, digest)
        given = header.decode("latin-1") if len(body) % 2 else header
        verdict = verify(given, body, SECRETS, NOW)
        assert verdict in _VERDICTS, "a word that is no verdict"
        assert (verdict == "ok") is _genuine(header, times, true), "the verdict is not what a plain reading gives"
        return (verdict,)

    def settle(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to close."""


def _genuine(header: bytes, times: list[bytes], true: list[bytes]) -> bool:
    """STRIPE 4.2 and 4.3, in other words than the product's."""
    if len(header) > 4096 or not header.isascii() or len(times) != 1:
        return False
    if not times[0].isdigit() or len(times[0]) > 12 or abs(NOW - int(times[0])) > 300:
        return False
    fields = [part.strip(b" \t") for part in header.split(b",")]
    if sum(field == b"t" or field.startswith(b"t=") for field in fields) != 1:
        return False
    given = [field[3:] for field in fields if field.startswith(b"v1=")]
    return len(given) <= 16 and any(signature.lower() in true for signature in given)
