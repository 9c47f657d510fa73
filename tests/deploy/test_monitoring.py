"""The alerts and the dashboard: what they ask exists, mixes no two meshes, and says what it should when it should."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import generate_monitoring
import helm
import promtool
import pytest
import yaml
from generate_monitoring import ALERTS, INSTALLATION, NAMESPACE, files, rules

from dashboard import ROWS, dashboard
from meshfed.telemetry.metrics import Metrics
from tests.deploy.cluster import ROOT
from tests.deploy.test_chart import one, rendered
from tests.test_docs import anchors

SCRAPED: Final = {"cluster", "namespace", "job", "pod", "le"}
"""The labels that Prometheus adds, or whoever has it scrape."""
JSONObject = dict[str, Any]


def series() -> dict[str, set[str]]:
    """The labels of every series that there is, by its name."""
    metrics = [metric for metric in vars(Metrics()).values() if hasattr(metric, "_labelnames")]
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}
    return {metric._name + suffix: set(metric._labelnames) for metric in metrics for suffix in suffixes[metric._type]}


def labels(listed: str) -> set[str]:
    return set(listed.replace(" ", "").split(","))


def asked(expression: str) -> Iterator[tuple[str, set[str]]]:
    """The series that an expression reads, each with the labels that it selects by."""
    for name, selector in re.findall(r"\b(meshfed_\w+)(?:\{([^}]*)\})?", expression):
        yield name, set(re.findall(r"(\w+)(?:=|!=|=~|!~)\"", selector))


def kept(expression: str) -> list[set[str]]:
    """The labels that each aggregation keeps."""
    return [labels(listed) for listed in re.findall(r"\bby \(([^)]*)\)", expression)]


ALERTING = {alert.name: alert.expression for alert in ALERTS}
SHOWN = {panel.title: panel.expression for row in ROWS.values() for panel in row}
ALL = ALERTING | SHOWN | {"absent": generate_monitoring.ABSENT}


@pytest.mark.parametrize("case", ALL)
def test_every_series_and_label_that_is_asked_for_exists(case: str) -> None:
    known = series()
    found = list(asked(ALL[case]))
    assert found
    for name, by in found:
        assert name in known
        assert by <= known[name] | SCRAPED
    available = set().union(*(known[name] for name, _ in found)) | SCRAPED
    assert [by for by in kept(ALL[case]) if not by <= available] == []


@pytest.mark.parametrize("case", ALERTING | SHOWN)
def test_nothing_is_aggregated_over_installations(case: str) -> None:
    expression, apart = ALL[case], labels(INSTALLATION) if case in ALERTING else {"cluster", "namespace"}
    aggregations = re.findall(r"\b(?:sum|max|min|count|avg|group|topk|bottomk|quantile)\b", expression)
    assert len(aggregations) == len(kept(expression))
    assert aggregations
    assert [by for by in kept(expression) if not apart <= by] == []


def test_every_series_is_selected_by_where_it_can_be() -> None:
    """So the dashboard's variables count for each, and the alerts of a release are of its namespace alone."""
    for expression in ALL.values():
        assert len(re.findall(r"\{\$in[,}]", expression)) == len(list(asked(expression)))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_names_only_labels_that_it_has_and_leads_to_its_runbook(alert: generate_monitoring.Alert) -> None:
    named = set(re.findall(r"\$labels\.(\w+)", alert.summary + alert.description))
    assert named <= kept(alert.expression)[0]
    assert {"namespace", "cluster"} <= named
    (rule,) = [rule for rule in rules()["groups"][0]["rules"] if rule["alert"] == alert.name]
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert anchor in anchors(ROOT / page)


def test_panels_have_room_and_a_number_of_their_own() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert {x for x, _ in taken} == set(range(24))


# --- as the chart has them


def test_the_charts_alerts_are_for_its_namespace_and_lead_to_where_the_documentation_is(
    helm_process: helm.Helm,
) -> None:
    values = {"prometheusRule": {"enabled": True, "runbooks": "https://example.com/meshfed/", "labels": {"a": "b"}}}
    rule = one(rendered(helm_process, values, namespace="fed"), "PrometheusRule")
    assert rule["spec"] == rules(selector='namespace="fed"', runbooks="https://example.com/meshfed/")
    assert rule["metadata"]["labels"]["a"] == "b"
    del values["prometheusRule"]["runbooks"]
    rule = one(rendered(helm_process, values, namespace="fed"), "PrometheusRule")
    assert rule["spec"] == rules(selector='namespace="fed"')


def test_the_charts_dashboard_is_what_grafanas_sidecar_looks_for(helm_process: helm.Helm) -> None:
    values = {"dashboard": {"enabled": True, "annotations": {"grafana_folder": "Mesh"}}}
    found = one(rendered(helm_process, values), "ConfigMap")
    assert json.loads(found["data"]["meshfed.json"]) == dashboard()
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert found["metadata"]["annotations"] == {"grafana_folder": "Mesh"}
    other = one(rendered(helm_process, {"dashboard": {"enabled": True, "labels": {"a": "b"}}}), "ConfigMap")
    assert (other["metadata"]["labels"]["a"], "grafana_dashboard" in other["metadata"]["labels"]) == ("b", False)
    assert len(json.dumps(found)) < 256 * 1024, "kubectl apply repeats it in an annotation"


# --- as Prometheus takes them


@pytest.fixture(scope="session")
def prometheus() -> None:
    """promtool; tests are skipped where it cannot be had."""
    try:
        promtool.promtool_path()
    except promtool.PromtoolUnavailable as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("prometheus")
def test_every_expression_can_be_parsed(tmp_path: Path) -> None:
    texts = {name.replace("/", "-"): text for name, text in files().items() if name.endswith(".yaml")}
    expressions = [
        panel["targets"][0]["expr"].replace("$__rate_interval", "5m")
        for panel in dashboard()["panels"]
        if panel["type"] != "row"
    ]
    recorded = [{"record": f"panel_{number}", "expr": expression} for number, expression in enumerate(expressions)]
    texts["panels.yaml"] = yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]})
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    code, said = promtool.ask("check", "rules", *(str(tmp_path / name) for name in texts))
    assert code == 0, said
    assert said.count("SUCCESS") == len(texts) == 3


def sample(name: str, by: Mapping[str, str]) -> str:
    listed = ", ".join(f'{label}="{value}"' for label, value in by.items())
    return f"{name}{{{listed}}}"


def scraped(name: str, values: str, *, cluster: str = "east", namespace: str = "istio-system", **by: str) -> JSONObject:
    """A series of one installation, a value a minute."""
    where = {"cluster": cluster, "namespace": namespace, "job": f"{namespace}/federation-controller", "pod": "a"} | by
    return {"series": sample(name, where), "values": values}


def both(name: str, wrong: str, right: str, **by: str) -> list[JSONObject]:
    """Something is wrong in east, in two namespaces, and in west, a cluster of the same namespace, it is right."""
    return [
        scraped(name, wrong, **by),
        scraped(name, wrong, namespace="mesh-2", **by),
        scraped(name, right, cluster="west", **by),
    ]


def buckets(name: str, **by: str) -> list[JSONObject]:
    """In east every change takes between 10 and 30 seconds, in west 100 ms."""
    return [
        one
        for le, wrong in {"0.1": "0x90", "10": "0x90", "30": "0+1x90", "+Inf": "0+1x90"}.items()
        for one in both(name, wrong, "0+1x90", le=le, **by)
    ]


class Case:
    """Series, and the labels besides those of an installation that the alert has for each that is wrong."""

    def __init__(self, series: list[JSONObject], minute: int, **labels: str) -> None:
        self.series, self.minute, self.labels = series, minute, labels


CASES = {
    "MeshfedControllerDown": Case(both("meshfed_build_info", "1x10 stale", "1x90", version="1"), 20),
    "MeshfedNoLeader": Case(
        [
            *both("meshfed_leader", "0x90", "1x90", pod="a"),
            *both("meshfed_leader", "0x90", "0x90", pod="b"),
        ],
        20,
    ),
    "MeshfedRemoteDisconnected": Case(
        [
            *both("meshfed_fds_connected", "1x5 0x90", "1x90", remote="r"),
            scraped("meshfed_fds_connected", "0x5 1x2 0x5 1x90", remote="it comes back"),
        ],
        20,
        remote="r",
    ),
    "MeshfedImportsUnreachable": Case(both("meshfed_unreachable_services", "3x90", "0x90", remote="r"), 20, remote="r"),
    "MeshfedWithdrawalHeld": Case(both("meshfed_withdrawals_held", "25x4 0x90", "0x90", remote="r"), 1, remote="r"),
    "MeshfedWritesFailing": Case(
        [*both("meshfed_engine_pending", "1x90", "0x90"), *both("meshfed_engine_pending", "0x90", "0x90", pod="b")], 20
    ),
    "MeshfedFault": Case(
        [
            one
            for pod, what in [("a", "x"), ("b", "x"), ("a", "y")]
            for one in both("meshfed_faults", "1x90", "0x90", pod=pod, what=what)
        ],
        20,
    ),
    "MeshfedWatchSilent": Case(
        [
            *both("meshfed_kube_watch_last_heard_timestamp_seconds", "0x90", "0+60x90", resource="pods"),
            *both("meshfed_kube_watch_last_heard_timestamp_seconds", "0+60x90", "0+60x90", resource="services"),
        ],
        20,
        pod="a",
    ),
    "MeshfedCertificateExpires": Case(
        both("meshfed_remote_certificate_expiry_timestamp_seconds", "1800x90", "90000x90", remote="r"), 20, remote="r"
    ),
    "MeshfedExportsSlow": Case(
        buckets("meshfed_export_propagation_seconds_bucket", subscriber="r"), 40, subscriber="r"
    ),
    "MeshfedImportsSlow": Case(buckets("meshfed_import_propagation_seconds_bucket", remote="r"), 40, remote="r"),
    "MeshfedCallersRefused": Case(
        [
            *both("meshfed_fds_refused_total", "0+1x90", "0x5 1x90", reason="identity"),
            *both("meshfed_fds_refused_total", "0+1x90", "0+1x90", reason="not-ready"),
        ],
        50,
        reason="identity",
    ),
}


def test_every_alert_has_a_case() -> None:
    assert list(CASES) == [alert.name for alert in ALERTS]


def firing(case: Case, name: str, namespace: str, *, absent: bool = False) -> str:
    """The sample that Prometheus has for an alert that is firing."""
    where = {"cluster": "east", "job": f"{namespace}/federation-controller"} if not absent else {}
    severity = {alert.name: alert.severity for alert in ALERTS}[name]
    given = {"alertname": name, "alertstate": "firing", "severity": severity, "namespace": namespace}
    return sample("ALERTS", given | where | case.labels)


def ruled(folder: Path, text: str, tests: list[Mapping[str, Any]]) -> None:
    """Have Prometheus evaluate rules."""
    (folder / "alerts.yaml").write_text(text)
    (folder / "tests.yaml").write_text(
        yaml.safe_dump({"rule_files": ["alerts.yaml"], "evaluation_interval": "1m", "tests": tests})
    )
    code, said = promtool.ask("test", "rules", str(folder / "tests.yaml"))
    assert code == 0, said


def expecting(series: list[JSONObject], name: str, minute: int, samples: list[str]) -> Mapping[str, Any]:
    return {
        "name": name,
        "interval": "1m",
        "input_series": series,
        "promql_expr_test": [
            {
                "expr": 'ALERTS{alertstate="firing"}',
                "eval_time": f"{minute}m",
                "exp_samples": [{"labels": sample, "value": 1} for sample in samples],
            }
        ],
    }


@pytest.mark.usefixtures("prometheus")
def test_each_alert_fires_for_each_installation_that_it_is_about_and_for_no_other(tmp_path: Path) -> None:
    namespaces = ("istio-system", "mesh-2")
    tests = [
        expecting(case.series, name, case.minute, [firing(case, name, namespace) for namespace in namespaces])
        for name, case in CASES.items()
    ]
    ruled(tmp_path, files()["monitoring/alerts.yaml"], tests)


@pytest.mark.usefixtures("prometheus")
def test_the_alerts_of_a_release_are_about_it_alone(tmp_path: Path) -> None:
    tests = [
        expecting(
            [one for one in case.series if "west" not in one["series"]],  # another cluster's has rules of its own
            name,
            case.minute,
            [firing(case, name, "mesh-2", absent=name == "MeshfedControllerDown")],
        )
        for name, case in CASES.items()
    ]
    scraping = [scraped("meshfed_build_info", "1x90", namespace="mesh-2", version="1")]
    tests = [
        {**test, "input_series": test["input_series"] + (scraping if name != "MeshfedControllerDown" else [])}
        for name, test in zip(CASES, tests, strict=True)
    ]
    ruled(tmp_path, files()["chart/monitoring/alerts.yaml"].replace(NAMESPACE, "mesh-2"), tests)


@pytest.mark.usefixtures("prometheus")
@pytest.mark.parametrize(("cluster", "said"), [("east", "namespace fed of cluster east"), ("", "namespace fed")])
def test_what_an_alert_says(tmp_path: Path, cluster: str, said: str) -> None:
    where = {"namespace": "fed", "job": "fed/federation-controller", "remote": "r"} | (
        {"cluster": cluster} if cluster else {}
    )
    alert = next(alert for alert in ALERTS if alert.name == "MeshfedImportsUnreachable")
    expected = {
        "exp_labels": where | {"severity": "critical"},
        "exp_annotations": {
            "summary": f"3 imports from remote r of {said} are not answered",
            "description": alert.description,
            "runbook_url": "docs/monitoring.md#meshfedimportsunreachable",
        },
    }
    test = {
        "interval": "1m",
        "input_series": [scraped("meshfed_unreachable_services", "3x90", cluster=cluster, namespace="fed", remote="r")],
        "alert_rule_test": [{"eval_time": "20m", "alertname": alert.name, "exp_alerts": [expected]}],
    }
    ruled(tmp_path, files()["monitoring/alerts.yaml"], [test])
