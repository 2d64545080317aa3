"""RULES 8: the input document, what can't be read, and the process around it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from models.errors import BadInput
from tests.unit.explained import explained
from tests.unit.stripe_json import NOW, coupon, customer, discount, document, failing, invoice, item, paid, price, subscription
from webhook_app.explain import explain, load_document, main

_ROOT = Path(__file__).parents[2]

BAD = {
    "now is missing": ({"now": None}, "now"),
    "now as text": ({"now": "today"}, "now"),
    "now as a fraction": ({"now": 1.5}, "now"),
    "now true": ({"now": True}, "now"),
    "an unknown key": ({"subscribtions": []}, "subscribtions"),
    "a list that is none": ({"invoices": {}}, "invoices"),
    "settings as a list": ({"settings": []}, "settings"),
    "an unknown setting": ({"settings": {"live": True}}, "settings.live"),
    "a flag that is none": ({"settings": {"count_cancelling": "no"}}, "settings.count_cancelling"),
    "an unknown scope": ({"settings": {"scope": {"kind": "some"}}}, "settings.scope.kind"),
    "scope values as text": ({"settings": {"scope": {"kind": "products", "values": "prod_1"}}}, "settings.scope.values"),
    "a domain that is no text": ({"settings": {"own_domains": [5]}}, "settings.own_domains"),
    "a customer of ours without id": ({"our_customers": [{"name": "Acme"}]}, "our_customers[0].id"),
    "a customer of ours that is no object": ({"our_customers": ["c1"]}, "our_customers[0]"),
    "one id of ours twice": ({"our_customers": [{"id": "c1"}, {"id": "c1"}]}, "'c1'"),
    "an unknown environment": ({"our_customers": [{"id": "c1", "environment": "moon"}]}, "our_customers[0].environment"),
    "a domain of ours that is a number": ({"our_customers": [{"id": "c1", "domain": 5}]}, "our_customers[0].domain"),
    "aliases as text": ({"our_customers": [{"id": "c1", "aliases": "acme.io"}]}, "our_customers[0].aliases"),
    "a link to nobody": ({"links": [{"stripe_customer_id": "cus_1"}]}, "links[0].customer_id"),
    "two links of one": (
        {
            "our_customers": [{"id": "c1"}, {"id": "c2"}],
            "links": [{"stripe_customer_id": "cus_1", "customer_id": to} for to in ("c1", "c2")],
        },
        "'cus_1'",
    ),
    "an unknown decision": ({"decisions": [{"customer_id": "c1", "kind": "split"}]}, "decisions[0].kind"),
    "a winner without a name": ({"decisions": [{"customer_id": "c1", "kind": "winner"}]}, "decisions[0].stripe_customer_id"),
    "a link to somebody unknown": ({"links": [{"stripe_customer_id": "cus_1", "customer_id": "c9"}]}, "links[0].customer_id"),
    "a decision on somebody unknown": ({"decisions": [{"customer_id": "c9", "kind": "merge"}]}, "decisions[0].customer_id"),
    "a scope of nothing": ({"settings": {"scope": {"kind": "products"}}}, "settings.scope.values"),
    "a rate of 0": ({"fx": {"date": "2026-11-01", "usd_per": {"EUR": "0"}}}, "fx.usd_per.EUR"),
    "a negative rate": ({"fx": {"usd_per": {"EUR": -1.1}}}, "fx.usd_per.EUR"),
    "a rate that is no number": ({"fx": {"usd_per": {"EUR": "NaN"}}}, "fx.usd_per.EUR"),
    "an enormous rate": ({"fx": {"usd_per": {"EUR": "1e999999"}}}, "fx.usd_per.EUR"),
    "a currency twice": ({"fx": {"usd_per": {"EUR": "1", "eur": "2"}}}, "fx.usd_per.EUR"),
    "a day that is none": ({"fx": {"date": "yesterday"}}, "fx.date"),
    "a kept key that is none": ({"kept_lookup_keys": {"price_1": 5}}, "kept_lookup_keys.price_1"),
    "one id with two contents": ({"invoices": [paid(), failing("in_paid")]}, "in_paid"),
}


@pytest.mark.parametrize(("keys", "named"), BAD.values(), ids=BAD)
def test_bad_input_is_named(keys: dict[str, Any], named: str) -> None:
    with pytest.raises(BadInput) as refused:
        explain(document(subscription(), **keys))
    assert named in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"now": NaN}', "[" * 100_000, '{"now": ' + "9" * 5000 + "}", b"\xff\xfe{"]
)
def test_a_document_that_is_no_json_object_is_refused(text: str | bytes) -> None:
    with pytest.raises(BadInput):
        load_document(text)


def test_a_number_without_end_is_told_without_python() -> None:
    with pytest.raises(BadInput, match="a number has too many digits") as refused:
        load_document('{"now": ' + "9" * 5000 + "}")
    assert "sys." not in str(refused.value)


def test_a_price_without_a_currency_is_no_price_in_dollars() -> None:
    bare = subscription()
    del bare["currency"]
    for row in bare["items"]["data"]:
        for copy in (row.get("price"), row.get("plan")):
            if copy:
                del copy["currency"]
    (customer,) = explain(document(bare))["customers"]  # type: ignore[misc]
    assert customer["mrr"] is None
    assert "mrr_unknown:missing_amount" in customer["flags"]


def test_every_key_but_now_may_be_missing() -> None:
    assert explain({"now": NOW}) == {
        "customers": [],
        "matches": [],
        "counts": {"matched": 0, "unmatched": 0, "skipped": 0, "ambiguous": 0},
        "flags": [],
    }
    nothing = dict.fromkeys(("settings", "our_customers", "links", "decisions", "fx", "invoices", "kept_lookup_keys"))
    assert explain({"now": NOW, **nothing})["customers"] == []


def test_customers_come_in_the_given_order_matched_or_not() -> None:
    ours = [{"id": name, "domain": f"{name}.org"} for name in ("zeta", "acme", "mid")]
    found: Any = explain(document(our_customers=ours, customers=[customer(email="x@acme.org")]))
    assert [entry["id"] for entry in found["customers"]] == ["zeta", "acme", "mid"]


def test_a_link_of_a_stripe_customer_that_is_not_there_changes_nothing() -> None:
    links = [{"stripe_customer_id": "cus_9", "customer_id": "c1"}]
    assert explained(subscription(), links=links)["mrr"] == 10_000


def test_a_link_to_a_customer_of_another_environment_does_not_decide() -> None:
    ours = [{"id": "c1", "domain": "acme.com"}, {"id": "c2", "environment": "staging"}]
    links = [{"stripe_customer_id": "cus_1", "customer_id": "c2"}]
    found: Any = explain(document(subscription(), our_customers=ours, links=links))
    assert [match["reason"] for match in found["matches"]] == ["domain"]


def test_the_same_object_twice_is_one() -> None:
    assert explained(subscription(), subscription())["mrr"] == 10_000


BROKEN = {
    "no status": subscription(subscription_id="sub_bad", status=None),
    "items as text": subscription(subscription_id="sub_bad", items="many"),
    "an amount that is no number": subscription(item(price(unit_amount_decimal="lots")), subscription_id="sub_bad"),
    "an absurd amount": subscription(item(price(unit_amount_decimal="1e400000")), subscription_id="sub_bad"),
    "a quantity that is no number": subscription(item(quantity="five"), subscription_id="sub_bad"),  # type: ignore[arg-type]
    "a discount that ends never": subscription(subscription_id="sub_bad", discounts=[discount(coupon(), end="never")]),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_an_unreadable_subscription_is_named_and_the_others_go_on(broken: dict[str, Any]) -> None:
    found = explained(subscription(), broken)
    assert (found["mrr"], found["flags"]) == (10_000, ["unreadable:sub_bad"])


def test_an_unreadable_invoice_is_named_and_the_others_go_on() -> None:
    found = explained(subscription(), invoices=[paid(), invoice("in_bad", amount_remaining="much")])
    assert (found["payment_status"], found["flags"]) == ("paid", ["unreadable:in_bad"])


def test_an_unreadable_object_is_flagged_on_the_customer_it_belongs_to() -> None:
    ours = [{"id": "c1", "domain": "acme.com"}, {"id": "c2", "domain": "globex.com"}]
    theirs = [customer(), customer("cus_2", email="x@globex.com")]
    other = subscription(item(price("price_2")), subscription_id="sub_2", customer="cus_2")

    def flags(**keys: Any) -> tuple[list[str], list[str], list[str]]:
        found: Any = explain(document(subscription(), other, our_customers=ours, customers=theirs, **keys))
        return found["customers"][0]["flags"], found["customers"][1]["flags"], found["flags"]

    named = ["unreadable:in_bad"]
    assert flags(invoices=[invoice("in_bad", created="then", customer="cus_2")]) == ([], named, named)
    assert flags(invoices=[invoice("in_bad", created="then", customer=None)]) == (named, named, named)
    assert flags(invoices=[invoice("in_bad", customer=None)]) == (named, named, named)
    assert flags(prices=[price("price_2", amount="lots")]) == ([], ["unreadable:price_2"], ["unreadable:price_2"])
    everyone = ["unreadable:products"]
    assert flags(products=[{"name": "no id"}]) == (everyone, everyone, everyone)


@pytest.mark.fault("F26")
def test_odd_text_comes_through_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "\u202e<script>😀\ud800=cmd"
    keyed = price(lookup_key=None, product={"id": "prod_1", "name": name})
    path = tmp_path / "document.json"
    path.write_text(json.dumps(document(subscription(item(keyed)))))
    assert main(str(path)) == 0
    assert json.loads(capsys.readouterr().out)["customers"][0]["plan"] == name


def test_bad_input_is_one_line_on_standard_error_and_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "document.json"
    path.write_text('{"settings": {}}')
    for file in (str(path), str(tmp_path / "missing.json"), str(tmp_path)):
        assert main(file) == 2
        said = capsys.readouterr()
        assert (said.out, said.err.count("\n")) == ("", 1)


def test_explain_needs_neither_flask_nor_sqlalchemy_nor_redis() -> None:
    code = "import sys; sys.argv[0]; import webhook_app.explain; print(*sorted(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=True, env={})
    loaded = {name.partition(".")[0] for name in ran.stdout.split()}
    assert not loaded & {"flask", "sqlalchemy", "redis", "rq", "stripe", "pydantic_settings"}


def test_the_fractions_of_a_document_are_exact(tmp_path: Path) -> None:
    text = json.dumps(document(subscription(discounts=[discount(coupon(percent_off=1))]))).replace(
        '"percent_off": 1', '"percent_off": 0.01'
    )
    found: Any = explain(load_document(text))
    assert found["customers"][0]["derivation"][0]["items"][0]["after_discounts"] == "9999"
