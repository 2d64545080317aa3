"""RULES 2 and 3: matching, and two Stripe customers on one of ours."""

import pytest

from models.domain.hosts import personal_domains
from models.domain.match import Directory, hosts_to_look_up, match_customer, normalise_host, registrable_domain
from models.domain.types import Customer, Settings, StripeCustomer
from tests.unit.explained import explained, outcome
from tests.unit.stripe_json import DAY, NOW, customer, document, failing, item, paid, price, subscription
from webhook_app.explain import explain

ACME = {"id": "c1", "domain": "acme.com"}


@pytest.mark.parametrize(
    ("text", "host"),
    [
        (" https://WWW.Acme.com.:443/about?x#y ", "acme.com"),
        ("acme.com", "acme.com"),
        ("@acme.com", "acme.com"),
        ("//acme.com/x", "acme.com"),
        ("acme.com...", "acme.com"),
        ("Bücher.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("www.com", "www.com"),
        ("joe@gmail.com", None),
        ("two words.com", None),
        ("", None),
        ("  ", None),
        ("http://", None),
        (".com", None),
        ("a..b", None),
        ("a" * 300 + ".com", None),
        ("\ud800.com", None),
    ],
)
def test_a_host_is_normalised_the_same_way_on_both_sides(text: str, host: str | None) -> None:
    assert normalise_host(text) == host


def test_the_registrable_domain_follows_the_public_suffix_list_with_its_private_part() -> None:
    assert registrable_domain("a.b.acme.co.uk") == "acme.co.uk"
    assert registrable_domain("foo.github.io") == "foo.github.io"
    assert registrable_domain("github.io") is None


@pytest.mark.fault("F26")
@pytest.mark.parametrize(
    ("email", "reason"),
    [
        (None, "no_email"),
        ("", "no_email"),
        ("   ", "no_email"),
        ("nobody", "invalid_email"),
        ("a@b@acme.com", "invalid_email"),
        ("Jane <jane@acme.com>", "invalid_email"),
        ("jane@acme", "invalid_email"),
        ("x@" + "a" * 600 + ".com", "invalid_email"),
        ("joe@gmail.com", "personal_domain"),
        ("joe@mail.gmail.com", "personal_domain"),
        ("x@contoso.onmicrosoft.com", "personal_domain"),
        ("x@privaterelay.appleid.com", "personal_domain"),
        ("x@ourco.com", "own_domain"),
        ("x@eu.ourco.com", "own_domain"),
        ("x@denied.org", "personal_domain"),
    ],
)
def test_an_address_that_says_nothing_about_a_company_is_skipped(email: str | None, reason: str) -> None:
    settings = {"own_domains": ["OurCo.com"], "personal_domains_deny": ["denied.org"]}
    assert outcome(customer(email=email), settings=settings) == ("skipped", reason, None)


def test_the_closest_entry_of_the_admins_lists_wins() -> None:
    settings = {"personal_domains_allow": ["acme.onmicrosoft.com", "gmx.de"], "personal_domains_deny": ["bad.gmx.de"]}
    ours = [{"id": "c1", "domain": "acme.onmicrosoft.com"}, {"id": "c2", "domain": "gmx.de"}]
    match = {"settings": settings, "our_customers": ours}
    assert outcome(customer(email="x@acme.onmicrosoft.com"), **match) == ("matched", "domain", "c1")
    assert outcome(customer(email="x@other.onmicrosoft.com"), **match)[1] == "personal_domain"
    assert outcome(customer(email="x@gmx.de"), **match) == ("matched", "domain", "c2")
    assert outcome(customer(email="x@bad.gmx.de"), **match)[1] == "personal_domain"


def test_with_the_toggle_on_only_the_full_address_matches() -> None:
    ours = [
        {"id": "c1", "domain": "gmail.com"},
        {"id": "c2", "aliases": ["Joe@GMail.com"]},
        {"id": "c3", "domain": "ann@gmail.com"},
    ]
    match = {"settings": {"match_personal_emails": True}, "our_customers": ours}
    assert outcome(customer(email="JOE@gmail.com"), **match) == ("matched", "alias", "c2")
    assert outcome(customer(email="ann@gmail.com"), **match) == ("matched", "domain", "c3")
    assert outcome(customer(email="joe+x@gmail.com"), **match) == ("unmatched", "no_customer_with_domain", None)


def test_a_domain_of_two_customers_is_never_guessed_until_a_link_decides() -> None:
    ours = [ACME, {"id": "c2", "domain": "x.org", "aliases": ["www.acme.com"]}]
    assert outcome(customer(), our_customers=ours) == ("unmatched", "several_customers_with_domain", None)
    parent = outcome(customer(email="x@eu.acme.com"), our_customers=ours)
    assert parent == ("unmatched", "several_customers_with_domain", None)
    links = [{"stripe_customer_id": "cus_1", "customer_id": "c2"}]
    assert outcome(customer(), our_customers=ours, links=links) == ("matched", "link", "c2")


def test_a_name_held_both_ways_by_one_customer_reads_as_its_domain() -> None:
    assert outcome(customer(), our_customers=[{**ACME, "aliases": ["acme.com"]}])[1] == "domain"


@pytest.mark.fault("F37")
def test_nothing_crosses_environments_not_even_a_link_or_metadata() -> None:
    staging = {**ACME, "environment": "staging"}
    links = [{"stripe_customer_id": "cus_1", "customer_id": "c1"}]
    assert outcome(customer(), our_customers=[staging], links=links)[0] == "unmatched"
    named = customer(metadata={"customer_id": "c1"})
    assert outcome(named, our_customers=[staging], settings={"metadata_key": "customer_id"})[0] == "unmatched"
    assert outcome(customer(), our_customers=[staging], settings={"livemode": False}) == ("matched", "domain", "c1")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("Globex.com", ("matched", "metadata", "c2")),
        ("globex.io", ("matched", "metadata", "c2")),
        ("eu.globex.com", ("matched", "domain", "c1")),  # exactly: no parent domain, so the e-mail decides
        ("nobody.org", ("matched", "domain", "c1")),
        ("c2", ("matched", "domain", "c1")),  # the key says domain
        ("  ", ("matched", "domain", "c1")),
    ],
)
def test_metadata_domain_names_a_host_or_alias_exactly(value: str, found: tuple) -> None:
    ours = [ACME, {"id": "c2", "domain": "globex.com", "aliases": ["globex.io"]}]
    match = {"our_customers": ours, "settings": {"metadata_key": "domain"}}
    assert outcome(customer(metadata={"domain": value}), **match) == found


def test_metadata_goes_before_a_personal_or_missing_address() -> None:
    settings = {"metadata_key": "customer_id"}
    for email in ("joe@gmail.com", None):
        named = customer(email=email, metadata={"customer_id": "c1"})
        assert outcome(named, settings=settings) == ("matched", "metadata", "c1")


def test_deleted_and_out_of_scope_go_before_a_link() -> None:
    links = [{"stripe_customer_id": "cus_1", "customer_id": "c1"}]
    assert outcome({"id": "cus_1", "object": "customer", "deleted": True}, links=links)[1] == "deleted"
    scope = {"scope": {"kind": "products", "values": ["prod_9"]}}
    assert outcome(customer(), links=links, settings=scope, subscriptions=[subscription()])[1] == "out_of_scope"


def test_an_ended_subscription_in_scope_keeps_its_customer_in_scope() -> None:
    scope = {"scope": {"kind": "products", "values": ["prod_1"]}}
    assert outcome(customer(), settings=scope, subscriptions=[subscription(status="canceled")])[0] == "matched"


def test_test_names_are_addresses_in_a_sandbox_only() -> None:
    ours = [{"id": "c1", "domain": "acme.test", "environment": "staging"}]
    assert outcome(customer(email="x@acme.test"))[1] == "invalid_email"
    assert outcome(customer(email="x@acme.test"), our_customers=ours, settings={"livemode": False})[0] == "matched"


def test_the_directory_of_only_the_rows_asked_for_decides_like_the_whole_one() -> None:
    everyone = [
        Customer("c1", domain="acme.com"),
        Customer("c2", domain="globex.com", external_id="77"),
        Customer("c3", domain="x.org"),
    ]
    settings = Settings(metadata_key="crm")
    for email, metadata in (("a@eu.acme.com", {}), ("a@x.org", {"crm": "77"}), ("a@none.org", {"crm": "GLOBEX.com"})):
        theirs = StripeCustomer("cus_1", email=email, metadata=metadata)
        wanted = hosts_to_look_up(theirs, settings)
        some = [one for one in everyone if {one.id, one.domain, one.external_id} & set(wanted)]
        whole = match_customer(theirs, True, settings, Directory(everyone, "production"), None)
        assert match_customer(theirs, True, settings, Directory(some, "production"), None) == whole
        assert whole.outcome == "matched"
        assert len(some) < len(everyone)


def test_the_shipped_list_is_normalised_and_has_no_company_suffix() -> None:
    assert len(personal_domains()) > 900
    assert all(normalise_host(domain) == domain and registrable_domain(domain) for domain in personal_domains())


# --- RULES 3

SMALL = customer("cus_a", created=NOW - 100 * DAY)
LARGE = customer("cus_b", created=NOW - 90 * DAY)
OF_SMALL = subscription(item(price(lookup_key="small_monthly")), subscription_id="sub_a", customer="cus_a")
OF_LARGE = subscription(item(price("price_2", 30_000, lookup_key="large")), subscription_id="sub_b", customer="cus_b")


def _two(*subscriptions: dict, **keys: object) -> dict:
    return explained(*subscriptions, **{"customers": [SMALL, LARGE], **keys})


def _decision(kind: str, *about: str, **fields: str) -> list[dict]:
    return [{"customer_id": "c1", "kind": kind, **fields, **({"stripe_customer_ids": list(about)} if about else {})}]


def test_two_billed_ones_are_summed_and_flagged() -> None:
    found = _two(OF_SMALL, OF_LARGE)
    assert (found["mrr"], found["plan"], found["stripe_customer_id"], found["flags"]) == (
        40_000,
        "large",
        "cus_b",
        ["ambiguous"],
    )


@pytest.mark.parametrize("status", ["incomplete", "incomplete_expired"])
def test_a_duplicate_that_was_never_billed_does_not_matter(status: str) -> None:
    found = _two({**OF_SMALL, "status": status}, OF_LARGE)
    assert (found["stripe_customer_id"], found["flags"]) == ("cus_b", [])


def test_an_unbilled_older_duplicate_never_gives_the_plan_of_a_trial() -> None:
    found = _two({**OF_LARGE, "status": "trialing"})
    assert (found["plan"], found["stripe_customer_id"], found["flags"]) == ("large", "cus_b", [])


def test_an_informative_invoice_alone_makes_a_customer_billed() -> None:
    assert _two(OF_LARGE, invoices=[paid(customer="cus_a")])["flags"] == ["ambiguous"]
    assert _two(OF_LARGE, invoices=[paid(customer="cus_a", status="draft")])["flags"] == []


def test_customers_that_came_by_a_link_are_not_ambiguous() -> None:
    links = [{"stripe_customer_id": "cus_a", "customer_id": "c1"}]
    assert _two(OF_SMALL, OF_LARGE, links=links)["flags"] == []


def test_equal_mrr_goes_to_the_earlier_created_then_to_the_id() -> None:
    equal = {**OF_LARGE, "items": OF_SMALL["items"]}
    assert _two(OF_SMALL, equal)["stripe_customer_id"] == "cus_a"
    assert _two(OF_SMALL, equal, customers=[{**SMALL, "created": LARGE["created"]}, LARGE])["stripe_customer_id"] == "cus_a"


def test_an_unknown_mrr_ranks_as_0() -> None:
    unknown = {**OF_LARGE, "discounts": ["di_bare"]}
    found = _two(OF_SMALL, unknown)
    assert (found["mrr"], found["stripe_customer_id"]) == (None, "cus_a")


def test_only_the_winner_counts_everywhere() -> None:
    invoices = [failing(customer="cus_b")]
    found = _two(OF_SMALL, OF_LARGE, decisions=_decision("winner", stripe_customer_id="cus_a"), invoices=invoices)
    assert (found["mrr"], found["plan"], found["payment_status"], found["flags"]) == (10_000, "small_monthly", "none", [])


def test_a_billed_newcomer_brings_the_flag_back_while_the_decision_holds() -> None:
    winner = _decision("winner", "cus_a", stripe_customer_id="cus_a")
    found = _two(OF_SMALL, OF_LARGE, decisions=winner)
    assert (found["mrr"], found["flags"]) == (10_000, ["ambiguous"])
    merged = _two(OF_SMALL, OF_LARGE, decisions=_decision("merge", "cus_a"))
    assert (merged["mrr"], merged["flags"]) == (40_000, ["ambiguous"])
    assert _two(OF_SMALL, decisions=winner)["flags"] == []  # the newcomer was never billed


def test_a_winner_that_is_no_longer_matched_decides_nothing() -> None:
    third = customer("cus_c")
    of_third = subscription(subscription_id="sub_c", customer="cus_c")
    gone = {"id": "cus_a", "object": "customer", "deleted": True}
    decisions = _decision("winner", stripe_customer_id="cus_a")
    found = _two(OF_SMALL, OF_LARGE, of_third, customers=[gone, LARGE, third], decisions=decisions)
    assert (found["mrr"], found["flags"]) == (40_000, ["ambiguous"])


def test_the_counts_add_up_to_the_stripe_customers_walked() -> None:
    winner = _decision("winner", stripe_customer_id="cus_a")
    customers = [SMALL, LARGE, customer("cus_c", email=None), customer("cus_d", email="x@nowhere.org")]
    found = explain(document(OF_SMALL, OF_LARGE, customers=customers, decisions=winner))
    assert found["counts"] == {"matched": 1, "unmatched": 1, "skipped": 2, "ambiguous": 0}


@pytest.mark.fault("F07")
def test_a_subscription_without_its_customer_is_shown_as_skipped_and_a_link_finds_it() -> None:
    alone = document(subscription(), customers=[])
    assert explain(alone)["matches"][0] == {
        "stripe_customer_id": "cus_1",
        "outcome": "skipped",
        "reason": "no_email",
        "customer_id": None,
    }
    links = [{"stripe_customer_id": "cus_1", "customer_id": "c1"}]
    assert explained(subscription(), customers=[], links=links)["mrr"] == 10_000
