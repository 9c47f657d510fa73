"""Series of a remote: all of them go with it, whatever metrics there are."""

from __future__ import annotations

from meshfed.telemetry.metrics import Metrics


def reported() -> Metrics:
    """Metrics in which everything there is was reported of west and of north, with two values of other labels."""
    metrics = Metrics()
    for metric in metrics.registry._collector_to_names:
        names = getattr(metric, "_labelnames", ())
        for remote in ("west", "north") if "remote" in names else ():
            for value in ("a", "b"):
                metric.labels(**{name: remote if name == "remote" else value for name in names})  # type: ignore[attr-defined]
    for hours, took in ((metrics.imports_took, metrics.import_took), (metrics.exports_took, metrics.export_took)):
        hours.begin(0)
        for remote in ("west", "north"):
            took(remote, 1.0, 10)
    return metrics


def minutes(metrics: Metrics) -> tuple[list[str], list[str]]:
    """The remotes of which there is what their changes took, from there and to there."""
    return list(metrics.imports_took.seen(20).remotes), list(metrics.exports_took.seen(20).remotes)


def of(metrics: Metrics, remote: str) -> set[str]:
    """The names of all series of a remote."""
    return {
        sample.name
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.labels.get("remote") == remote
    }


def test_whoever_forgets_a_remote_forgets_all_series_of_it_and_no_other() -> None:
    metrics, before = reported(), of(reported(), "west")
    assert len(before) >= 9, before
    metrics.forget_remote("west")
    assert (of(metrics, "west"), of(metrics, "north")) == (set(), before)
    assert minutes(metrics) == (["north"], ["north"])


def test_while_its_remote_mesh_is_there_only_what_its_status_says_stays() -> None:
    metrics, before = reported(), of(reported(), "west")
    metrics.forget_discovery("west")
    assert of(metrics, "west") == {
        "meshfed_imported_services",
        "meshfed_denied_services",
        "meshfed_refused_services",
    }
    assert of(metrics, "north") == before
    assert minutes(metrics) == (["north"], ["north", "west"])


def test_whoever_leads_no_more_forgets_all_series_of_all_remotes() -> None:
    metrics = reported()
    metrics.forget_remotes()
    assert (of(metrics, "west"), of(metrics, "north")) == (set(), set())
    assert minutes(metrics) == ([], ["north", "west"])
    assert metrics.imports_took.seen(20).measured is None, "who does not lead measures no imports"
