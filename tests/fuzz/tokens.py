"""What is put where it doesn't belong: JSON texts by what stands there usually, and texts that are no JSON at all."""

import hashlib
import json

NOW = 1_795_000_000
DAY = 86_400

_LARGEST = 2**63 - 1
NUMBERS = [
    b"0", b"1", b"-1", b"2", b"3", b"7", b"12", b"100", b"999", b"10000", b"1e2", b"1.0", b"0.5", b"-0", b"-0.0", b"1e-7",
    b"0.1234567890123456789012345", b"33.333333333333333333333333", b"1e18", b"9999999999999999999", b"1e19", b"-1e18",
    b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808", b"-9223372036854775807", b"18446744073709551616",
    b"1e308", b"1e309", b"1e999999", b"-1e999999", b"1e-999999", b"0e999999", b"0e-999999", b"1e99999999999999999999",
    b"1e-99999999999999999999", b"4294967296", b"2147483648", b"1" + b"0" * 30, b"1" + b"0" * 31, b"1" + b"0" * 32,
    b"1" + b"0" * 400, b"9" * 4301, b"0." + b"3" * 31, b"0." + b"3" * 400, b"1e+2", b"1E2", b"100.00",
]  # fmt: skip
NUMBER_TEXTS = [
    b'"0"', b'"1"', b'"-1"', b'"12.5"', b'"1e3"', b'"1E+18"', b'"1e999999"', b'"-1e999999"', b'"1e-999999"', b'"0e999999"',
    b'"0e-999999"', b'"0E-24"', b'"NaN"', b'"sNaN"', b'"-NaN123"', b'"Infinity"', b'"-inf"', b'" 5 "', b'"1_000"', b'"5\\n"',
    b'"0x10"', b'"\\u0665"', b'"\\uff15"', b'"1,000"', b'"1.2.3"', b'""', b'"abc"', b'"inf"', b'"' + b"9" * 42 + b'"',
    b'"' + b"9" * 43 + b'"', b'"0.' + b"0" * 40 + b'"', b'"0.000000000000000000000001"', b'"0.0000000000000000000000001"',
    b'"9223372036854775807"', b'"9223372036854775808"', b'"1e18"', b'"1e19"', b'"+3"', b'"3."', b'".3"',
]  # fmt: skip
TIMES = [
    str(at).encode()
    for at in (
        0, 1, -1, NOW, NOW - 1, NOW + 1, NOW + DAY, NOW - DAY, NOW + 400 * DAY, 253_402_300_799, 253_402_300_800, 2**31, 2**40,
        _LARGEST, 10**17, 1_795_000_000_000, 1_740_787_200, NOW - 300 * DAY,
    )
] + [b"1.795e9", b"1795000000.5", b'"1795000000"', b'"2026-11-18T11:06:40Z"', b'"soon"', b'"2026-11-18"', b"1e300"]  # fmt: skip
WORDS = [
    json.dumps(word).encode()
    for word in (
        "active", "past_due", "trialing", "incomplete", "incomplete_expired", "unpaid", "canceled", "paused", "dreaming",
        "open",
        "paid", "draft", "void", "uncollectible", "forever", "repeating", "once", "day", "week", "month", "year", "fortnight",
        "licensed", "metered", "per_unit", "tiered", "volume", "graduated", "recurring", "one_time", "up", "down", "exclusive",
        "inclusive", "charge_automatically", "send_invoice", "requires_action", "requires_payment_method", "processing",
        "succeeded", "inf", "max_payment_attempts", "list", "plan", "price", "event", "v2.core.event", "customer",
        "subscription",
        "invoice", "coupon", "product", "discount", "invoice_payment", "payment_intent", "all", "products", "lookup_keys",
        "winner", "merge", "production", "staging", "domain", "customer_id",
    )
]  # fmt: skip
CURRENCIES = [
    json.dumps(word).encode()
    for word in (
        "usd", "USD", "Usd", "eur", "jpy", "kwd", "isk", "ugx", "mga", "krw", "bhd", "xyz", "", " usd", "us", "usdd",
        "\u0131sk", "u\u017fd",
        "\u212aWD", "\u00df", "\ud83d\ude00", "\u0130", "x" * 300, "\x00", "usd\x00", "null",
    )
]  # fmt: skip
# Of random characters, so that no database makes it short: an index that takes it takes anything.
LONG = "".join(hashlib.sha256(b"%d" % number).hexdigest() for number in range(150))
_LONG = LONG.encode()
TEXTS = [
    b'"' + _LONG + b'"', b'"' + _LONG[:400] + b'"', b'"' + _LONG[:3000] + b'"', b'"' + _LONG + b'.com"',
    b'""', b'" "', b'"x"', b'"\\u0000"', b'"a\\u0000b"', b'"\\ud800"', b'"\\udc00x"', b'"\\ud83d\\ude00"', b'"\\u202eabc"',
    b'"\xff"', b'"\xc3\x28"', b'"\xed\xa0\x80"', b'"\xf0\x9f\x98\x80"', b'"\x00"', b'"\t"', b'"\\"', b'"\\x"', b'"<script>"',
    b'"=cmd|\' /C calc\'!A0"', b'"\\r\\nX: y"', b'"\\u001b[31m"', b'"' + b"a" * 300 + b'"', b'"' + b"a" * 3000 + b'"',
    b'"' + b"9" * 50 + b'"', b'"__proto__"', b'"constructor"', b'"id"', b'"null"', b'"true"', b'"0"', b'"a@b.com"', b'"@"',
    b'"billing@acme.com"', b'"x@gmail.com"', b'"x@xn--"', b'"x@xn--a.com"', b'"\\u00fc@\\u00fc.de"', b'"@acme.com"',
    b'"a@[127.0.0.1]"', b'"a@b..com"', b'"' + b"a." * 60 + b'com"', b'"x@' + b"a." * 120 + b'com"', b'"a\\n@acme.com"',
    b'"\\"a b\\"@acme.com"', b'"http://www.acme.com:8080/x?y#z"', b'"acme.com."', b'"\\u3002"', b'"a\\u3002com"', b'"\\u00ad"',
    b'"x@\\u00ad.com"', b'"xn--' + b"a" * 70 + b'"', b'"_-_"', b'"--monthly"', b'"monthly"', b'"_monthly"', b'"a_b-c_yearly"',
    b'"\\u0345"', b'"\\u0149"', b'"\\ufb01"', b'"2026-10-28.endive"', b'"2020-08-27"', b'"acct_1"', b'"evt_1"',
]  # fmt: skip
SHAPES = [
    b"null", b"true", b"false", b"[]", b"{}", b"[null]", b"[[]]", b"[{}]", b'{"id":null}', b'{"id":""}', b'{"id":5}',
    b'{"id":"x"}', b'{"data":null}', b'{"data":[]}', b'{"data":{}}', b'{"data":[null,5,"x",{}]}', b'{"data":5}',
    b'{"data":[],"has_more":true}', b'{"object":"list","data":[{}],"has_more":1}', b'["x"]', b"[1,2,3]", b'{"a":1,"a":2}',
    b'{"":""}', b'{"id":"x","id":"y"}', b'{"coupon":{"id":"C","percent_off":50,"duration":"forever"}}', b'["di_1","di_1"]',
    b'[{"id":"di_1","coupon":"C"},"di_1"]', b'{"id":"di_1","coupon":{"id":"C","amount_off":500,"currency":"usd"}}',
    b'{"id":"di_1","source":{"type":"coupon","coupon":"C"}}', b'{"eur":{"unit_amount":5}}', b'{"EUR":{"unit_amount":"5"}}',
    b'{"eur":{"amount_off":5}}', b'{"eur":null}', b'{"divide_by":3,"round":"up"}', b'{"divide_by":0,"round":"down"}',
    b'{"divide_by":-2,"round":"up"}', b'{"interval":"week","interval_count":2}', b'{"interval":"day","interval_count":0}',
    b'{"interval":"month","interval_count":-3,"usage_type":"metered"}',
    b'{"interval":"year","interval_count":9223372036854775807}',
    b'[{"up_to":10,"unit_amount":5},{"up_to":null,"unit_amount":3,"flat_amount":100}]',
    b'[{"up_to":"inf","flat_amount":1}]', b'[{"up_to":-5,"unit_amount":5},{"up_to":3,"unit_amount":1}]',
    b'[{"up_to":5,"unit_amount_decimal":"1e18"},{"up_to":5,"unit_amount":1},{"up_to":null,"unit_amount":"0.1"}]',
    b'{"status":"requires_payment_method","id":"pi","last_payment_error":{"code":"x","decline_code":"y"}}',
    b'{"id":"pi","status":"processing"}', b'{"behavior":"void"}', b'{"products":["prod_1"]}', b'{"products":[null,{"id":"p"}]}',
    b'{"subscription_details":{"subscription":{"id":"sub_1"}}}', b'{"uncollectible":{"reason":"max_payment_attempts"}}',
]  # fmt: skip
NO_JSON = [
    b"NaN", b"Infinity", b"-Infinity", b"nul", b"True", b"undefined", b"'x'", b"01", b"+1", b"1.", b".5", b"0x1", b"1e", b"--1",
    b"", b",", b":", b"}", b"]", b'"', b'"a', b"{", b"[", b"[,]", b"[1,]", b'{"a":1,}', b'{"a"}', b"{1:2}", b"/**/1", b"1 2",
    b"\x00", b"\xff", b"\xef\xbb\xbf1", b"[" * 80 + b"]" * 80, b'{"a":' * 70 + b"1" + b"}" * 70, b"[" * 62 + b"]" * 62,
    b"[" * 3000 + b"]" * 3000, b"[" * 3000,
]  # fmt: skip

AMOUNT_KEYS = frozenset([
    "amount", "amount_decimal", "unit_amount", "unit_amount_decimal", "flat_amount", "flat_amount_decimal", "amount_off",
    "percent_off", "quantity", "interval_count", "up_to", "divide_by", "amount_due", "amount_remaining", "amount_paid",
    "attempt_count", "fx_stale_days", "EUR", "JPY", "usd_per",
])  # fmt: skip
TIME_KEYS = frozenset([
    "created", "start", "end", "start_date", "cancel_at", "canceled_at", "ended_at", "trial_end", "current_period_end",
    "due_date",
    "next_payment_attempt", "now", "date",
])  # fmt: skip
WORD_KEYS = frozenset([
    "status", "duration", "interval", "usage_type", "billing_scheme", "tiers_mode", "type", "round", "collection_method",
    "object",
    "tax_behavior", "kind", "reason", "environment", "metadata_key",
])  # fmt: skip
CURRENCY_KEYS = frozenset(["currency"])
EXTRA_KEYS = (
    "plan", "price", "discount", "discounts", "coupon", "source", "items", "data", "currency_options", "tiers", "recurring",
    "transform_quantity", "transform_usage", "payment_intent", "payments", "charge", "parent", "status_details",
    "pause_collection",
    "customer", "customer_account", "subscription", "latest_invoice", "metadata", "applies_to", "deleted", "forgiven", "paid",
    "has_more", "date", "billing", "last_payment_error", "is_default", "payment", "related_object", "account", "livemode",
    "api_version", "previous_attributes", "lookup_key", "nickname", "product", "name", "email", "number", "auto_advance", "id",
    "cancel_at_period_end", "attempted", "currency", "usage_type", "quantity", "amount_off", "percent_off", "__proto__", "zzz",
)  # fmt: skip


def hostile_for(key: str) -> list[bytes]:
    """Texts to put where a value of `key` stands."""
    anything = [*NUMBERS, *NUMBER_TEXTS, *TIMES, *WORDS, *CURRENCIES, *TEXTS, *SHAPES, *NO_JSON]
    if key in AMOUNT_KEYS:
        return NUMBERS * 3 + NUMBER_TEXTS * 3 + anything
    if key in TIME_KEYS:
        return TIMES * 8 + anything
    if key in WORD_KEYS:
        return WORDS * 6 + anything
    if key in CURRENCY_KEYS:
        return CURRENCIES * 12 + anything
    return SHAPES * 2 + TEXTS * 2 + anything
