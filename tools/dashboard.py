"""The panels of the Grafana dashboard, by the questions of whoever is called; `generate_monitoring.py` writes it."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

UID: Final = "meshfed"
SELECTED: Final = 'cluster=~"$cluster",namespace=~"$namespace"'
"""What every series is selected by; a series without the label `cluster` is one of which that is empty."""
_BY: Final = "cluster, namespace"
_MESH: Final = "{{cluster}} {{namespace}}"
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_COLUMNS: Final = 24
_HEIGHT: Final = 8


class Panel(NamedTuple):
    """One panel: a question, what answers it, and how. ``legend`` names each series by its labels."""

    title: str
    expression: str
    legend: str = _MESH
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 8
    says: str = ""


ROWS: Final[dict[str, tuple[Panel, ...]]] = {
    "Is it well?": (
        Panel(
            "Controllers",
            f"count by ({_BY}, version) (meshfed_build_info{{$in}})",
            f"{_MESH} {{{{version}}}}",
            "stat",
            width=6,
        ),
        Panel(
            "Leading", f"sum by ({_BY}) (meshfed_leader{{$in}})", kind="stat", width=6, says="One of each installation."
        ),
        Panel(
            "Remotes that are connected",
            f"sum by ({_BY}) (max by ({_BY}, remote) (meshfed_fds_connected{{$in}}))",
            kind="stat",
            width=6,
        ),
        Panel(
            "Faults",
            f"count by ({_BY}) (max by ({_BY}, what) (meshfed_faults{{$in}}) > 0)",
            kind="stat",
            width=6,
            says="Of Meshfed's own that stand.",
        ),
    ),
    "What is federated?": (
        Panel("Exported services", f"max by ({_BY}) (meshfed_exported_services{{$in}})"),
        Panel(
            "Imported services, by remote",
            f"max by ({_BY}, remote) (meshfed_imported_services{{$in}})",
            f"{_MESH} {{{{remote}}}}",
        ),
        Panel(
            "Subscribers of our exports",
            f"sum by ({_BY}, pod, dialect) (meshfed_fds_subscribers{{$in}})",
            f"{_MESH} {{{{pod}}}} {{{{dialect}}}}",
        ),
        Panel(
            "Not imported, by reason",
            f"max by ({_BY}, remote, reason) (meshfed_refused_services{{$in}})",
            f"{_MESH} {{{{remote}}}} {{{{reason}}}}",
        ),
        Panel(
            "Denied by import rules",
            f"max by ({_BY}, remote) (meshfed_denied_services{{$in}})",
            f"{_MESH} {{{{remote}}}}",
        ),
        Panel(
            "Withdrawals that are held",
            f"max by ({_BY}, remote) (meshfed_withdrawals_held{{$in}})",
            f"{_MESH} {{{{remote}}}}",
        ),
    ),
    "Do requests arrive?": (
        Panel(
            "Imports that nobody answers",
            f"max by ({_BY}, remote) (meshfed_unreachable_services{{$in}})",
            f"{_MESH} {{{{remote}}}}",
        ),
        Panel(
            "Handshakes, by outcome",
            f"sum by ({_BY}, remote, outcome) (rate(meshfed_probes_total{{$in}}[$__rate_interval]))",
            f"{_MESH} {{{{remote}}}} {{{{outcome}}}}",
            unit="ops",
        ),
        Panel(
            "Time of a handshake, 90th percentile",
            f"histogram_quantile(0.9, sum by ({_BY}, remote, le)"
            " (rate(meshfed_probe_seconds_bucket{$in}[$__rate_interval])))",
            f"{_MESH} {{{{remote}}}}",
            unit="s",
        ),
        Panel(
            "Certificate of a remote's controller ends in",
            f"min by ({_BY}, remote) (meshfed_remote_certificate_expiry_timestamp_seconds{{$in}}) - time()",
            f"{_MESH} {{{{remote}}}}",
            unit="s",
            width=12,
        ),
        Panel(
            "Since a remote was heard",
            f"time() - max by ({_BY}, remote) (meshfed_fds_last_message_timestamp_seconds{{$in}})",
            f"{_MESH} {{{{remote}}}}",
            unit="s",
            width=12,
        ),
    ),
    "How fast is it?": (
        Panel(
            "From a Service's event to a subscriber's ACK, 90th percentile",
            f"histogram_quantile(0.9, sum by ({_BY}, subscriber, le)"
            " (rate(meshfed_export_propagation_seconds_bucket{$in}[$__rate_interval])))",
            f"{_MESH} {{{{subscriber}}}}",
            unit="s",
            width=12,
            says="There is a point only where something changed.",
        ),
        Panel(
            "From a Service's event until it is in place at a subscriber, 90th percentile",
            f"histogram_quantile(0.9, sum by ({_BY}, subscriber, le)"
            " (rate(meshfed_export_in_place_seconds_bucket{$in}[$__rate_interval])))",
            f"{_MESH} {{{{subscriber}}}}",
            unit="s",
            width=12,
            says="As the subscriber says, by this mesh's clock. Nothing is there of one that does not say it.",
        ),
        Panel(
            "From a remote's change to the objects here, 90th percentile",
            f"histogram_quantile(0.9, sum by ({_BY}, remote, le)"
            " (rate(meshfed_import_propagation_seconds_bucket{$in}[$__rate_interval])))",
            f"{_MESH} {{{{remote}}}}",
            unit="s",
            width=12,
            says="There is a point only where something changed.",
        ),
        Panel(
            "Time to work out a key, 99th percentile",
            f"histogram_quantile(0.99, sum by ({_BY}, kind, le)"
            " (rate(meshfed_reconcile_seconds_bucket{$in}[$__rate_interval])))",
            f"{_MESH} {{{{kind}}}}",
            unit="s",
        ),
        Panel("Keys that wait", f"max by ({_BY}, pod) (meshfed_queue_depth{{$in}})", f"{_MESH} {{{{pod}}}}"),
        Panel(
            "Responses to subscribers",
            f"sum by ({_BY}, dialect) (rate(meshfed_fds_pushes_total{{$in}}[$__rate_interval]))",
            f"{_MESH} {{{{dialect}}}}",
            unit="ops",
        ),
    ),
    "What is in the way?": (
        Panel("Objects that are not as they should be", f"max by ({_BY}) (meshfed_engine_pending{{$in}})"),
        Panel(
            "Writes that failed, by cause",
            f"sum by ({_BY}, resource, cause) (rate(meshfed_engine_failures_total{{$in}}[$__rate_interval]))",
            f"{_MESH} {{{{resource}}}} {{{{cause}}}}",
            unit="ops",
        ),
        Panel(
            "Writes",
            f"sum by ({_BY}, verb, resource) (rate(meshfed_kube_writes_total{{$in}}[$__rate_interval]))",
            f"{_MESH} {{{{verb}}}} {{{{resource}}}}",
            unit="ops",
            says="In the steady state none but those of the Lease.",
        ),
        Panel(
            "Since the Kubernetes API said anything",
            f"time() - min by ({_BY}, pod) (meshfed_kube_watch_last_heard_timestamp_seconds{{$in}})",
            f"{_MESH} {{{{pod}}}}",
            unit="s",
            says="Of the resource of which that is longest ago.",
        ),
        Panel(
            "Attempts to reach a remote, by outcome",
            f"sum by ({_BY}, remote, outcome) (rate(meshfed_fds_connects_total{{$in}}[$__rate_interval]))",
            f"{_MESH} {{{{remote}}}} {{{{outcome}}}}",
            unit="ops",
        ),
        Panel(
            "Callers and streams refused, by reason",
            f"sum by ({_BY}, reason) (rate(meshfed_fds_refused_total{{$in}}[$__rate_interval]))",
            f"{_MESH} {{{{reason}}}}",
            unit="ops",
        ),
        Panel(
            "Differences that were resynchronised",
            f"sum by ({_BY}, remote) (increase(meshfed_fds_divergences_total{{$in}}[1h]))",
            f"{_MESH} {{{{remote}}}}",
            says="They heal by themselves, and should not happen.",
        ),
        Panel(
            "Objects that cannot be understood",
            f"max by ({_BY}, resource) (meshfed_kube_store_undecodable{{$in}})",
            f"{_MESH} {{{{resource}}}}",
        ),
        Panel(
            "Labels and identities left out of offers",
            f"sum by ({_BY}, remote, what) (rate(meshfed_offers_dropped_total{{$in}}[$__rate_interval]))",
            f"{_MESH} {{{{remote}}}} {{{{what}}}}",
            unit="ops",
        ),
    ),
}


def dashboard() -> dict[str, Any]:
    """The dashboard, as Grafana takes it: rows of panels, and what selects a source, clusters and namespaces."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS.items():
        panels.append(
            {"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": _place(0, top, _COLUMNS, 1)}
        )
        left, top = 0, top + 1
        for panel in row:
            if left + panel.width > _COLUMNS:
                left, top = 0, top + _HEIGHT
            panels.append(_panel(panel) | {"gridPos": _place(left, top, panel.width, _HEIGHT)})
            left += panel.width
        top += _HEIGHT
    panels = [{"id": number} | panel for number, panel in enumerate(panels, start=1)]
    return {
        "uid": UID,
        "title": "Meshfed",
        "description": "Istio mesh federation, as its controllers see it. Generated by tools/generate_monitoring.py.",
        "tags": ["meshfed", "istio"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "",
        "templating": {"list": _variables()},
        "annotations": {"list": []},
        "panels": panels,
    }


def _place(left: int, top: int, width: int, height: int) -> dict[str, int]:
    return {"x": left, "y": top, "w": width, "h": height}


def _panel(panel: Panel) -> dict[str, Any]:
    stat = panel.kind == "stat"
    target = {
        "refId": "A",
        "datasource": _SOURCE,
        "expr": panel.expression.replace("$in", SELECTED),
        "legendFormat": panel.legend,
        "instant": stat,
        "range": not stat,
    }
    shown = {"reduceOptions": {"calcs": ["lastNotNull"]}, "textMode": "value_and_name"}
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.says,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": shown if stat else {"tooltip": {"mode": "multi"}, "legend": {"displayMode": "list"}},
        "targets": [target],
    }


def _variables() -> list[dict[str, Any]]:
    source = {"name": "datasource", "label": "Source", "type": "datasource", "query": "prometheus"}
    return [source, _variable("cluster", ""), _variable("namespace", '{cluster=~"$cluster"}')]


def _variable(label: str, selector: str) -> dict[str, Any]:
    query = f"label_values(meshfed_build_info{selector}, {label})"
    return {
        "name": label,
        "label": label.capitalize(),
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": label},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }
