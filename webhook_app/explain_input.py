"""The input document of `explain` (RULES 8): checked, each key named when it can't be used."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import NoReturn, TypeVar

import msgspec

from models.domain.types import Customer, Decision, FxTable, Link, Scope, Settings
from models.errors import BadInput
from models.stripe_reader.fields import decimal_or_nan

Json = Mapping[str, object]
Entry = TypeVar("Entry")

STRIPE_LISTS = ("customers", "subscriptions", "invoices", "prices", "products", "coupons")
_KEYS = frozenset({"now", "settings", "our_customers", "links", "decisions", "fx", "kept_lookup_keys", *STRIPE_LISTS})
_FLAGS = (
    "livemode",
    "match_personal_emails",
    "count_cancelling",
    "subtract_repeating_discounts",
    "subtract_once_discounts",
)
_LISTS = ("own_domains", "personal_domains_allow", "personal_domains_deny")
_SCOPES = ("all", "products", "lookup_keys")
_ENVIRONMENTS = ("production", "staging")
_LAST_MOMENT = 253_402_300_799  # 9999-12-31


class Document(msgspec.Struct, frozen=True):
    """The checked document. `stripe`: the lists of Stripe objects as they came, still to be read."""

    now: int
    settings: Settings
    our_customers: tuple[Customer, ...]
    links: dict[str, str]
    decisions: dict[str, Decision]
    fx: FxTable
    stripe: dict[str, list[object]]
    kept_lookup_keys: dict[str, str]


def load_document(text: str | bytes) -> dict[str, object]:
    """The JSON document in `text`, fractions exact. Raises `BadInput` when it is no JSON object."""
    try:
        document = json.loads(text, parse_float=decimal_or_nan, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"the document is no JSON that can be read: {_one_line(error)}") from None
    if not isinstance(document, dict):
        raise BadInput("the document is no JSON object")
    return document


def check_document(document: Json) -> Document:
    """Every key of the document but the Stripe objects, checked. Raises `BadInput` that names the key."""
    _known_keys(document, _KEYS, "")
    our_customers = _our_customers(document)
    # Without that key nobody can be missing from it: then links and decisions decide nothing.
    ids = None if document.get("our_customers") is None else frozenset(customer.id for customer in our_customers)
    return Document(
        now=_now(document),
        settings=_settings(_part(document, "settings")),
        our_customers=our_customers,
        links=_links(document, ids),
        decisions=_decisions(document, ids),
        fx=_fx(_part(document, "fx")),
        stripe={key: _list(document, key) for key in STRIPE_LISTS},
        kept_lookup_keys=_kept(_part(document, "kept_lookup_keys")),
    )


def _now(document: Json) -> int:
    if "now" not in document:
        raise BadInput("now is missing (unix seconds)")
    now = document["now"]
    if isinstance(now, bool) or not isinstance(now, int) or not 0 <= now <= _LAST_MOMENT:
        raise BadInput("now must be a time in unix seconds")
    return now


def _settings(data: Json) -> Settings:
    known = {*_FLAGS, *_LISTS, "scope", "metadata_key", "fx_stale_days"}
    _known_keys(data, known, "settings.")
    values: dict[str, object] = {name: _flag(data, name) for name in _FLAGS if data.get(name) is not None}
    values |= {name: _texts(data.get(name), f"settings.{name}") for name in _LISTS}
    values["scope"] = _scope(data.get("scope"))
    values["metadata_key"] = _optional_text(data, "metadata_key", "settings.")
    days = 45 if data.get("fx_stale_days") is None else data["fx_stale_days"]
    if isinstance(days, bool) or not isinstance(days, int) or not 0 <= days <= 36500:
        raise BadInput("settings.fx_stale_days must be a number of days")
    return msgspec.convert({**values, "fx_stale_days": days}, Settings)


def _scope(value: object) -> Scope:
    if value is None:
        return Scope()
    if not isinstance(value, Mapping):
        raise BadInput("settings.scope must be an object")
    _known_keys(value, {"kind", "values"}, "settings.scope.")
    kind = "all" if value.get("kind") is None else value["kind"]
    if kind not in _SCOPES:
        raise BadInput(f"settings.scope.kind must be one of {', '.join(_SCOPES)}")
    values = _texts(value.get("values"), "settings.scope.values")
    if kind != "all" and not values:
        raise BadInput(f"settings.scope.values is missing: a scope of {kind} needs some")
    return Scope(str(kind), values)


def _our_customers(document: Json) -> tuple[Customer, ...]:
    found = tuple(_customer(data, where) for data, where in _objects(document, "our_customers"))
    seen: set[str] = set()
    for customer in found:
        if customer.id in seen:
            raise BadInput(f"our_customers: {customer.id!r} stands there twice")
        seen.add(customer.id)
    return found


def _customer(data: Json, where: str) -> Customer:
    customer_id = _text(data, "id", where)
    environment = "production" if data.get("environment") is None else data["environment"]
    if environment not in _ENVIRONMENTS:
        raise BadInput(f"{where}environment must be one of {', '.join(_ENVIRONMENTS)}")
    return Customer(
        id=customer_id,
        name=_optional_text(data, "name", where) or "",
        domain=_optional_text(data, "domain", where),
        aliases=_texts(data.get("aliases"), f"{where}aliases"),
        environment=str(environment),
        external_id=_optional_text(data, "external_id", where),
    )


def _links(document: Json, ids: Collection[str] | None) -> dict[str, str]:
    found = []
    for data, where in _objects(document, "links"):
        _known_keys(data, {"stripe_customer_id", "customer_id"}, where)
        found.append(Link(_text(data, "stripe_customer_id", where), _held(data, where, ids)))
    by_id = _unique("links", found, lambda link: link.stripe_customer_id)
    return {stripe_id: link.customer_id for stripe_id, link in by_id.items()}


def _decisions(document: Json, ids: Collection[str] | None) -> dict[str, Decision]:
    found = [_decision(data, where, ids) for data, where in _objects(document, "decisions")]
    return _unique("decisions", found, lambda decision: decision.customer_id)


def _decision(data: Json, where: str, ids: Collection[str] | None) -> Decision:
    _known_keys(data, {"customer_id", "kind", "stripe_customer_id", "stripe_customer_ids"}, where)
    kind = data.get("kind")
    if kind not in ("winner", "merge"):
        raise BadInput(f"{where}kind must be winner or merge")
    winner = _text(data, "stripe_customer_id", where) if kind == "winner" else None
    about = data.get("stripe_customer_ids")
    known = None if about is None else tuple(sorted(_texts(about, f"{where}stripe_customer_ids")))
    return Decision(_held(data, where, ids), str(kind), winner, known)


def _held(data: Json, where: str, ids: Collection[str] | None) -> str:
    """The id of one of `our_customers`, in whichever environment; of anybody where that key is missing (`ids` None)."""
    customer_id = _text(data, "customer_id", where)
    if ids is not None and customer_id not in ids:
        raise BadInput(f"{where}customer_id names none of our_customers: {customer_id!r}")
    return customer_id


def _fx(data: Json) -> FxTable:
    _known_keys(data, {"date", "usd_per", "sources"}, "fx.")
    day = _optional_text(data, "date", "fx.")
    try:
        day = date.fromisoformat(day).isoformat() if day else None
    except ValueError:
        raise BadInput("fx.date must be a day such as 2026-10-30") from None
    rates: dict[str, Decimal] = {}
    for currency, value in _part(data, "usd_per", "fx.").items():
        code = currency.upper()
        if code in rates:
            raise BadInput(f"fx.usd_per.{code} stands there twice")
        rates[code] = _rate(value, code)
    sources = _part(data, "sources", "fx.")
    return FxTable(day, rates, {code.upper(): str(source) for code, source in sources.items()})


def _rate(value: object, code: str) -> Decimal:
    """A positive number, as text or as a number; a float goes through its shortest text."""
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
            raise InvalidOperation
        rate = Decimal(str(value))
        if not rate.is_finite() or rate <= 0 or abs(rate.adjusted()) > 18 or len(rate.as_tuple().digits) > 40:
            raise InvalidOperation
    except InvalidOperation:
        raise BadInput(f"fx.usd_per.{code} must be a number above 0") from None
    return rate


def _kept(data: Json) -> dict[str, str]:
    for price, key in data.items():
        if key is not None and not isinstance(key, str):
            raise BadInput(f"kept_lookup_keys.{price} must be text")
    return {price: str(key) for price, key in data.items() if key}


def _unique(name: str, entries: Iterable[Entry], key: Callable[[Entry], str]) -> dict[str, Entry]:
    """By key; the same entry twice is one, two different ones contradict each other."""
    found: dict[str, Entry] = {}
    for entry in entries:
        if found.setdefault(key(entry), entry) != entry:
            raise BadInput(f"{name}: two different entries for {key(entry)!r}")
    return found


def _objects(document: Json, key: str) -> Iterable[tuple[Json, str]]:
    for position, entry in enumerate(_list(document, key)):
        if not isinstance(entry, Mapping):
            raise BadInput(f"{key}[{position}] must be an object")
        yield entry, f"{key}[{position}]."


def _list(document: Json, key: str) -> list[object]:
    value = document.get(key)
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise BadInput(f"{key} must be a list")
    return list(value)


def _part(document: Json, key: str, where: str = "") -> Json:
    value = document.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise BadInput(f"{where}{key} must be an object")
    return value


def _known_keys(data: Json, known: Iterable[str], where: str) -> None:
    unknown = sorted(str(key) for key in data if key not in set(known))
    if unknown:
        raise BadInput(f"{where}{unknown[0]} is no key of the document")


def _flag(data: Json, key: str) -> bool:
    value = data[key]
    if not isinstance(value, bool):
        raise BadInput(f"settings.{key} must be true or false")
    return value


def _text(data: Json, key: str, where: str) -> str:
    value = data.get(key)
    if not isinstance(value, str) or not value:
        raise BadInput(f"{where}{key} must be text")
    return value


def _optional_text(data: Json, key: str, where: str) -> str | None:
    return None if data.get(key) is None or data.get(key) == "" else _text(data, key, where)


def _texts(value: object, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or not all(isinstance(entry, str) for entry in value):
        raise BadInput(f"{where} must be a list of texts")
    return tuple(str(entry) for entry in value)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _one_line(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if "integer string conversion" in str(error):
        return "a number has too many digits"
    return " ".join(str(error).split())[:200]
