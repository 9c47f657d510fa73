"""The plan: Kubernetes objects in, and out, key by key, the objects that should exist and the statuses that hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshfed.plan.imports import record_manifest
    from meshfed.plan.keys import (
        ExportKey,
        GatewayKey,
        ImportKey,
        Key,
        MeshKey,
        MeshStatusKey,
        OfferKey,
        RemoteKey,
        RemoteStatusKey,
    )
    from meshfed.plan.offline import Plan, PlanInputs, drain, feed, plan_all
    from meshfed.plan.planner import Planner
    from meshfed.plan.values import Applied, Outputs, Published, Ref, Remarks, RemoteConnection, Settings, StatusUpdate
else:
    from meshfed._faces import face

    __getattr__ = face(
        __name__,
        {
            "imports": ("record_manifest",),
            "keys": (
                "ExportKey",
                "GatewayKey",
                "ImportKey",
                "Key",
                "MeshKey",
                "MeshStatusKey",
                "OfferKey",
                "RemoteKey",
                "RemoteStatusKey",
            ),
            "offline": ("Plan", "PlanInputs", "drain", "feed", "plan_all"),
            "planner": ("Planner",),
            "values": (
                "Applied",
                "Outputs",
                "Published",
                "Ref",
                "Remarks",
                "RemoteConnection",
                "Settings",
                "StatusUpdate",
            ),
        },
    )

__all__ = [
    "Applied",
    "ExportKey",
    "GatewayKey",
    "ImportKey",
    "Key",
    "MeshKey",
    "MeshStatusKey",
    "OfferKey",
    "Outputs",
    "Plan",
    "PlanInputs",
    "Planner",
    "Published",
    "Ref",
    "Remarks",
    "RemoteConnection",
    "RemoteKey",
    "RemoteStatusKey",
    "Settings",
    "StatusUpdate",
    "drain",
    "feed",
    "plan_all",
    "record_manifest",
]
