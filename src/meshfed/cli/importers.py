"""Each replica of a controller asked who imports what, by way of the API server, beside its metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from meshfed.cli.clusters import Where
    from meshfed.kube import Client
    from meshfed.model.importers import ImportersPage
    from meshfed.views.importers import ImportersSeen
    from meshfed.views.snapshot import Snapshot

_MOST_PAGES: Final = 200
"""Of one replica: more hosts than any mesh exports."""


def importers(where: Where, snapshots: Sequence[Snapshot], hosts: Mapping[str, Sequence[str]]) -> list[ImportersSeen]:
    """Return what the controllers of clusters that were looked at know, of ``hosts`` by the cluster's name.

    Where a cluster has more hosts than are asked for one by one, it is asked for all.
    """
    import asyncio

    from meshfed.cli.arguments import duration
    from meshfed.cli.clusters import ask, clusters
    from meshfed.views.importers import NOT_REPORTED, ImportersSeen
    from meshfed.views.snapshot import Unreached

    if where.file:
        return [one.importers or NOT_REPORTED for one in snapshots]
    configs, seconds = dict(clusters(where)), duration("--request-timeout", where.request_timeout, some=True)

    async def asked() -> list[ImportersSeen | Unreached]:
        return await asyncio.gather(
            *(
                ask(
                    one.source,
                    configs[one.source],
                    seconds,
                    lambda client, one=one: of_cluster(client, one, hosts[one.source]),  # type: ignore[misc] # bound now
                )
                for one in snapshots
            )
        )

    return [ImportersSeen(why=one.why) if isinstance(one, Unreached) else one for one in asyncio.run(asked())]


def metrics_port(snapshot: Snapshot) -> int | None:
    """Return the port at which controllers serve metrics, and answer who imports; ``None`` where they serve none."""
    from meshfed.views.checks.facts import flag

    port = flag(snapshot, "--metrics-bind-address", ":8080").rpartition(":")[2]
    return int(port) or None if port.isdecimal() else None


async def of_cluster(client: Client, snapshot: Snapshot, hosts: Sequence[str] | None) -> ImportersSeen:
    """Return what the replicas of one controller know of ``hosts``.

    Of none, that is what each remote says at all; ``None`` is every host.
    """
    import asyncio

    from meshfed.views.checks.facts import controllers, place
    from meshfed.views.importers import ImportersSeen, together

    if "Pod" in snapshot.unread:
        return ImportersSeen(why=snapshot.unread["Pod"])
    names = [place(pod)[1] for pod in controllers(snapshot) if (pod.get("status") or {}).get("phase") == "Running"]
    if not names:
        return ImportersSeen(why=f"no pod of the controller runs in namespace {snapshot.namespace}")
    port = metrics_port(snapshot)
    if port is None:
        return ImportersSeen(why="the controller serves no metrics, beside which it would be asked")
    answers = await asyncio.gather(*(_of_pod(client, snapshot.namespace, f"{name}:{port}", hosts) for name in names))
    reasons = [one for one in answers if isinstance(one, str)]
    return together(
        [page for one in answers if not isinstance(one, str) for page in one], "; ".join(dict.fromkeys(reasons))
    )


async def _of_pod(client: Client, namespace: str, name: str, hosts: Sequence[str] | None) -> list[ImportersPage] | str:
    """Return what one replica answers; or why nothing, in words."""
    import msgspec

    from meshfed.kube import Forbidden, KubeError, NotFound, Resource
    from meshfed.model.importers import PATH, ImportersPage

    path = Resource("", "v1", "pods", "Pod").path(namespace, name, "proxy") + PATH
    pages: list[ImportersPage] = []
    every = hosts is None or len(hosts) > 1
    wanted: list[dict[str, str]] = [{"after": ""}] if every else [{"host": one} for one in hosts or ()] or [{}]
    try:
        while wanted and len(pages) < _MOST_PAGES:
            body = (await client.fetch(path, accept="*/*", params=wanted.pop())).body
            pages.append(msgspec.json.decode(body, type=ImportersPage))
            wanted += [{"after": pages[-1].next}] if pages[-1].next else []
    except Forbidden:
        return f"you may not get pods/proxy in namespace {namespace}"
    except NotFound:
        return f"pod {name} is gone, or of a version that does not say it"
    except KubeError as error:
        return f"pod {name} does not answer: {error}"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return f"pod {name} answers something else"
    return pages
