"""The reader over whole payloads of nine API versions, ours and (where they lie beside the project) recorded ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from models.errors import Unreadable
from models.stripe_reader import objects
from models.stripe_reader.envelope import read_envelope
from models.stripe_reader.events import read_event
from models.stripe_reader.versions import is_usable
from webhook_app.explain import explain

_PAYLOADS = Path(__file__).parents[1] / "payloads"
_VERSIONS = sorted(path.name for path in _PAYLOADS.iterdir() if path.name[:2] == "20")
_SAMPLES = Path(__file__).parents[3] / "shared" / "samples"


def _load(version: str, name: str) -> Any:
    return json.loads((_PAYLOADS / version / f"{name}.json").read_text())


def _story(version: str) -> dict[str, Any]:
    return {
        "now": 1_795_000_000,
        "our_customers": [{"id": "c1", "domain": "northwind.example"}],
        "customers": [_load(version, "customer")],
        "subscriptions": [_load(version, "subscription")],
        "invoices": [_load(version, "invoice_paid"), _load(version, "invoice_failing")],
        "prices": _load("shared", "prices"),
        "coupons": _load("shared", "coupons"),
    }


@pytest.mark.fault("F23")
@pytest.mark.parametrize("version", _VERSIONS)
def test_every_version_tells_the_same_story(version: str) -> None:
    found: Any = explain(_story(version))["customers"]
    assert found[0]["mrr"] == 11760  # 3 x 4900 x 0.8
    assert found[0]["plan"] == "team_seat_monthly"
    assert found[0]["headline"] == "Plan: Team Seat, MRR $117.60, payment failing"
    assert found[0]["failure_reason"] == "insufficient_funds"
    assert found[0]["attempt_count"] == 2
    assert found[0]["renews_at"] == 1_796_083_200
    assert found[0]["billing_started_at"] == 1_740_787_200
    assert found[0]["flags"] == []


@pytest.mark.fault("F23")
@pytest.mark.parametrize("version", _VERSIONS)
def test_the_customers_discount_counts_when_the_subscription_loses_its_own(version: str) -> None:
    story = _story(version)
    story["subscriptions"][0] |= {"discount": None, "discounts": []}
    found: Any = explain(story)["customers"]
    assert found[0]["mrr"] == 13230  # 3 x 4900 x 0.9


@pytest.mark.fault("F23")
@pytest.mark.parametrize("version", _VERSIONS)
def test_an_invoice_is_one_value_in_every_version(version: str) -> None:
    for name in ("invoice_paid", "invoice_failing"):
        assert objects.read_invoice(_load(version, name)) == objects.read_invoice(_load("2026-10-28.endive", name))


@pytest.mark.fault("F23")
@pytest.mark.parametrize("version", _VERSIONS[2:])
def test_a_subscription_is_one_value_in_every_version_that_carries_its_facts(version: str) -> None:
    value = objects.read_subscription(_load(version, "subscription"))
    newest = objects.read_subscription(_load("2026-10-28.endive", "subscription"))
    assert value.items == newest.items
    assert (value.id, value.customer, value.status, value.currency) == (
        newest.id,
        newest.customer,
        newest.status,
        newest.currency,
    )
    assert value.current_period_end == newest.current_period_end
    assert [found.coupon_id for found in value.discounts] == ["PARTNER20"]


@pytest.mark.parametrize("version", _VERSIONS)
def test_each_of_our_payload_versions_is_usable(version: str) -> None:
    assert is_usable(version)


def _samples(folder: str) -> list[Path]:
    return sorted((_SAMPLES / folder).glob("*/*.json"))


def test_recorded_objects_are_readable() -> None:
    if not _SAMPLES.is_dir():
        pytest.skip("no recorded samples beside the project (shared/samples)")
    for path in _samples("objects"):
        data = json.loads(path.read_text())
        assert getattr(objects, f"read_{data['object']}")(data).__struct_fields__, path


def test_recorded_events_are_readable() -> None:
    if not _SAMPLES.is_dir():
        pytest.skip("no recorded samples beside the project (shared/samples)")
    for path in _samples("events"):
        raw = path.read_bytes()
        envelope, event = read_envelope(raw), read_event(raw)
        assert all(getattr(event, name) == getattr(envelope, name) for name in envelope.__struct_fields__), path
        try:
            getattr(objects, f"read_{event.object_type}")(event.object)
        except Unreadable as error:
            pytest.fail(f"{path}: {error}")
