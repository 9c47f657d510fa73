"""The plan: Kubernetes objects in, and out, key by key, the objects that should exist and the statuses that hold."""

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
from meshfed.plan.offline import Inputs, Plan, drain, feed, plan_all, record_manifest
from meshfed.plan.planner import Planner
from meshfed.plan.values import Applied, Connection, Outputs, Published, Ref, Settings, StatusUpdate

__all__ = [
    "Applied",
    "Connection",
    "ExportKey",
    "GatewayKey",
    "ImportKey",
    "Inputs",
    "Key",
    "MeshKey",
    "MeshStatusKey",
    "OfferKey",
    "Outputs",
    "Plan",
    "Planner",
    "Published",
    "Ref",
    "RemoteKey",
    "RemoteStatusKey",
    "Settings",
    "StatusUpdate",
    "drain",
    "feed",
    "plan_all",
    "record_manifest",
]
