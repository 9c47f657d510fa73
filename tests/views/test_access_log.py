"""A line of an access log, as Istio has Envoy write it, and its verdict."""

from __future__ import annotations

import json
from typing import Any

import pytest

from meshfed.views.access_log import judge, parse
from meshfed.views.symptoms import CALLERS, FLAGS, OTHERS, At, Symptom

HOST = "ratings.bookinfo.svc.cluster.local"
SNI = f"outbound_.9080_._.{HOST}"
PLAIN: dict[str, Any] = {
    "start_time": "2026-01-01T00:00:00.000Z",
    "method": "GET",
    "path": "/ratings/0",
    "protocol": "HTTP/1.1",
    "response_code": 503,
    "response_flags": "-",
    "response_code_details": "via_upstream",
    "connection_termination_details": None,
    "upstream_transport_failure_reason": None,
    "authority": "ratings.bookinfo:9080",
    "upstream_host": "192.0.2.20:15443",
    "upstream_cluster": f"outbound|9080||{HOST}",
    "requested_server_name": None,
    "route_name": "default",
}


def as_json(**fields: Any) -> str:
    return json.dumps(PLAIN | fields)


def as_text(**fields: Any) -> str:
    """The same in Istio's text format (``EnvoyTextLogFormat``)."""
    line = {name: "-" if value in {None, ""} else value for name, value in (PLAIN | fields).items()}
    return (
        '[{start_time}] "{method} {path} {protocol}" {response_code} {response_flags} {response_code_details} '
        '{connection_termination_details} "{upstream_transport_failure_reason}" 0 91 12 - "-" "curl/8.5.0" '
        '"b1946ac9-2492-4e7c" "{authority}" "{upstream_host}" {upstream_cluster} 10.0.0.7:41234 240.240.0.1:9080 '
        "10.0.0.7:51234 {requested_server_name} {route_name}"
    ).format(**line)


TCP = {
    "method": "-",
    "path": "-",
    "protocol": "-",
    "response_code": 0,
    "response_code_details": None,
    "authority": None,
}
VERIFY = "TLS_error:|268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify_cert_failed:SAN_matcher"
CASES: list[tuple[dict[str, Any], At, str]] = [
    (
        {"response_flags": "UF,URX", "upstream_transport_failure_reason": VERIFY},
        At.CALLER,
        "#a-certificate-is-not-accepted",
    ),
    (
        {"response_flags": "UF", "upstream_transport_failure_reason": "delayed_connect_error:_Connection_refused"},
        At.CALLER,
        "#the-gateway-is-not-reached",
    ),
    (
        {
            "response_flags": "UF,URX",
            "upstream_transport_failure_reason": "TLS_error:|Connection_reset_by_peer:TLS_error_end",
        },
        At.CALLER,
        "#the-gateway-does-not-pass-it-on",
    ),
    ({"response_flags": "UH", "upstream_host": None}, At.CALLER, "no endpoint is left"),
    ({"response_code": 403}, At.CALLER, "#it-is-refused"),
    (
        {"response_code": 502, "response_code_details": "direct_response", "upstream_cluster": None,
         "route_name": "block_all"},
        At.CALLER,
        "#nothing-is-imported",
    ),
    ({**TCP, "response_flags": "UH", "upstream_cluster": "BlackHoleCluster"}, At.CALLER, "#nothing-is-imported"),
    ({"upstream_cluster": "PassthroughCluster", "response_flags": "UF"}, At.CALLER, "#nothing-is-imported"),
    (
        {**TCP, "response_flags": "UH", "upstream_cluster": "BlackHoleCluster", "requested_server_name": SNI},
        At.GATEWAY,
        "#the-gateway-does-not-pass-it-on",
    ),
    (
        {**TCP, "response_flags": "NR", "upstream_cluster": None, "requested_server_name": SNI},
        At.GATEWAY,
        "#the-gateway-does-not-pass-it-on",
    ),
    (
        {**TCP, "response_flags": "UH", "upstream_cluster": SNI, "requested_server_name": SNI},
        At.GATEWAY,
        "#mtls-is-turned-off",
    ),
    (
        {**TCP, "response_flags": "UF", "upstream_cluster": SNI, "requested_server_name": SNI},
        At.GATEWAY,
        "NetworkPolicy",
    ),
    (
        {
            "response_code": 403,
            "response_code_details": "rbac_access_denied_matched_policy[ns[bookinfo]-policy[strict]-rule[0]]",
            "upstream_cluster": "inbound|9080||",
            "requested_server_name": SNI,
        },
        At.CALLED,
        "#it-is-refused",
    ),
    (
        {"response_flags": "UF", "upstream_cluster": "inbound|9080||", "requested_server_name": SNI},
        At.CALLED,
        "does not listen",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "at", "says"), CASES)
def test_a_line_is_read_in_both_formats_and_leads_where_the_page_says(
    fields: dict[str, Any], at: At, says: str
) -> None:
    found = judge(parse(as_json(**fields)))
    assert judge(parse(as_text(**fields))) == found
    assert (found.at, found.host, found.failed) == (at, found.host, True)
    assert says in f"{found.page} {found.verdict}"
    assert found.link is not None


def test_every_symptom_that_a_line_can_show_is_shown_by_one() -> None:
    can = {one.it_is for one in (*CALLERS, *OTHERS) if one.flags or one.words or one.clusters or one.codes}
    shown = [judge(parse(as_json(**fields))) for fields, *_ in CASES]
    told = {Symptom("", "", text).plain for text in can}
    assert told - {one.verdict.partition("; URX")[0] for one in shown} == set()


@pytest.mark.parametrize("flag", FLAGS)
def test_other_flags_say_what_they_are(flag: str) -> None:
    found = judge(parse(as_text(response_flags=flag)))
    assert (found.failed, f"{flag}: " in found.verdict) == (True, True)


@pytest.mark.parametrize(
    ("fields", "failed", "says"),
    [
        ({"response_code": 200}, False, "the call went through"),
        ({"response_code": 404}, True, "answered 404: federation is through"),
        ({"response_code": 500}, True, "answered 500: federation is through"),
    ],
)
def test_an_answer_of_the_application_is_told_from_a_failure(fields: dict[str, Any], failed: bool, says: str) -> None:
    found = judge(parse(as_text(**fields)))
    assert (found.failed, says in found.verdict, found.link) == (failed, True, None)


@pytest.mark.parametrize(
    ("fields", "host"),
    [
        ({}, HOST),
        ({"upstream_cluster": f"outbound|9080|v2|{HOST}"}, HOST),
        ({"upstream_cluster": None}, "ratings.bookinfo"),
        ({"upstream_cluster": "inbound|9080||", "requested_server_name": SNI}, HOST),
        ({"upstream_cluster": None, "authority": None}, ""),
    ],
)
def test_which_host_was_called(fields: dict[str, Any], host: str) -> None:
    assert parse(as_text(**fields)).host == host


def test_what_kubectl_puts_before_a_line_does_not_matter() -> None:
    for line in (as_text(response_flags="UH"), as_json(response_flags="UH")):
        assert parse(f"[pod/curl-1/istio-proxy] {line}\n") == parse(line)


@pytest.mark.parametrize("text", ["", "hello", "{}", '{"a": 1}', "[2026] GET / 503", "[" * 5000, "{" * 5000])
def test_what_is_no_line_of_istios_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither of Istio's own formats"):
        parse(text)


@pytest.mark.parametrize("odd", [[], {}, ["UH"], {"a": None}])
def test_fields_of_any_type_are_read_as_texts(odd: Any) -> None:
    for name in PLAIN:
        judge(parse(as_json(**{name: odd})))


def test_json_that_never_ends_is_no_line() -> None:
    with pytest.raises(ValueError, match="neither of Istio's own formats"):
        parse('{"response_code": ' + "[" * 100_000)
