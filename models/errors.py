"""The error tree: few errors, named in the words of the domain, mapped to HTTP and exit codes once.

Every error carries one line a user can act on. None of them ever carries a payload, a secret or an e-mail.
"""


class PivotalError(Exception):
    """Anything this product raises on purpose. `str(error)` is one line that is safe to show and to log."""


class SettingsError(PivotalError):
    """A setting is missing or wrong; start-up refuses (exit 2)."""


class BadInput(PivotalError):
    """What the user gave can't be used; the text names the key, the field or the object (exit 2, HTTP 422)."""


class NotFound(PivotalError):
    """There is no such thing, or it belongs to another connection or environment (exit 2, HTTP 404)."""


class Refused(PivotalError):
    """The request is understood and not allowed now: a second connection of a mode, a run under way (exit 2, HTTP 409)."""


class Unreadable(PivotalError):
    """One Stripe object can't be read. `object_id` names it (or says where it stands); the others go on."""

    def __init__(self, object_id: str, problem: str) -> None:
        super().__init__(f"{object_id}: {problem}")
        self.object_id = object_id
        self.problem = problem


class UnusableBody(PivotalError):
    """An authentic webhook body that is no event: bad JSON, absurd nesting, no id. Quarantined, answered 200."""


class LostLease(PivotalError):
    """Another drainer or run holds the lease now; what was computed under the old one must not be written."""


class Conflict(PivotalError):
    """A compare-and-set found a newer version; decide again. Where that was tried often enough, later can help."""

    passing = True


class DatabaseAway(PivotalError):
    """The database did not answer in time; nothing was stored (HTTP 503)."""


class StripeTrouble(PivotalError):
    """A read from Stripe failed. `passing` tells whether trying again later can help."""

    passing = True


class StripeUnreachable(StripeTrouble):
    """Network, time-out, 5xx or a broken answer, after the bounded retries."""


class StripeRateLimited(StripeTrouble):
    """429 after the bounded retries."""


class StripeKeyRefused(StripeTrouble):
    """401: the key is revoked or wrong."""

    passing = False


class StripePermissionMissing(StripeTrouble):
    """403: the key lacks `permission` (a word such as rak_product_read, or None where Stripe didn't name it)."""

    passing = False

    def __init__(self, message: str, permission: str | None = None) -> None:
        super().__init__(message)
        self.permission = permission


class StripeNotFound(StripeTrouble):
    """404 resource_missing. Never by itself a deletion (FAULTS F69)."""

    passing = False


class StripeBadRequest(StripeTrouble):
    """400 and other refusals of our parameters: a fault of ours, shown with Stripe's `param`."""

    passing = False


class StripeStopped(StripeTrouble):
    """The process is stopping (or lost its lease), so the read was given up."""
