"""Stripe's error envelope."""


class ApiError(Exception):
    """An answer that isn't 200. `code` and `param` as Stripe names them; `headers` go with the answer."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        type_: str = "invalid_request_error",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.type = type_
        self.headers = headers or {}

    def body(self, request_id: str) -> dict:
        """The JSON of it."""
        error: dict[str, str] = {
            "message": self.message,
            "type": self.type,
            "request_log_url": f"https://dashboard.stripe.com/logs/{request_id}",
        }
        if self.code:
            error["code"] = self.code
            error["doc_url"] = "https://stripe.com/docs/error-codes/" + self.code.replace("_", "-")
        if self.param:
            error["param"] = self.param
        return {"error": error}


def missing(kind: str, id_: str, param: str = "id", *, elsewhere: str | None = None) -> ApiError:
    """404 `resource_missing`, with Stripe's sentence; `elsewhere`: the mode in which the object does exist [verify]."""
    name = kind if kind == "payment_intent" else kind.replace("_", " ")
    told = f"No such {name}: '{id_}'"
    if elsewhere is not None:
        other = "test" if elsewhere == "live" else "live"
        told += f"; a similar object exists in {elsewhere} mode, but a {other} mode key was used to make this request."
    return ApiError(404, told, code="resource_missing", param=param)


def rate_limited(reason: str) -> ApiError:
    """429 with the bucket's name, and neither `Stripe-Should-Retry` nor `Retry-After`."""
    return ApiError(
        429,
        "Request rate limit exceeded. You can learn more about rate limits here https://stripe.com/docs/rate-limits.",
        code="rate_limit",
        headers={"Stripe-Rate-Limited-Reason": reason},
    )


def lock_timeout() -> ApiError:
    """429 of a locked object: a code of its own and no reason header."""
    return ApiError(
        429,
        "This object cannot be accessed right now because another API request or Stripe process is currently accessing it.",
        code="lock_timeout",
    )


def foreign_account(account: str | None) -> ApiError:
    """403: `Stripe-Account` names another account."""
    return ApiError(
        403,
        f"The provided key does not have access to account '{account}' (or that account does not exist). "
        "Application access may have been revoked.",
        code="account_invalid",
    )


def no_key() -> ApiError:
    """401: no key at all."""
    return ApiError(
        401,
        "You did not provide an API key. You need to provide your API key in the Authorization header, "
        "using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
    )


def not_permitted(key: str, account: str, permission: str) -> ApiError:
    """403 with the sentence that names the missing permission (STRIPE 6.1)."""
    return ApiError(
        403,
        f"The provided key '{key}' does not have the required permissions for this endpoint on account "
        f"'{account}'. Having the '{permission}' permission would allow this request to continue.",
    )
