"""Who may do what: service accounts and their tokens, roles and bindings, and the questions about them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.conformance.cluster import Answer, Session
from tests.waiting import eventually_sync

JSONObject = dict[str, Any]
RBAC = "rbac.authorization.k8s.io/v1"


def account(k: Session, name: str = "robot") -> str:
    """Make a service account; returns a token of it."""
    k.kubectl("create", "serviceaccount", name)
    return k.kubectl("create", "token", name, "--duration=1h").strip()


def user(k: Session, name: str = "robot") -> str:
    return f"system:serviceaccount:{k.namespace}:{name}"


def rule(verbs: str, resources: str, *, group: str = "", names: str = "") -> JSONObject:
    made = {"verbs": verbs.split(), "apiGroups": [group], "resources": resources.split()}
    return made | ({"resourceNames": names.split()} if names else {})


def role(k: Session, *rules: JSONObject, name: str = "robot") -> None:
    """Make a Role of the rules, and bind it to the service account ``robot``."""
    made = k.http("POST", k.path("roles", group=RBAC), {"metadata": {"name": name}, "rules": list(rules)})
    assert made.code == 201, made.json
    bind(k, name, kind="Role")


def bind(k: Session, name: str, *, kind: str) -> None:
    body: JSONObject = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": k.namespace}],
    }
    assert k.http("POST", k.path("rolebindings", group=RBAC), body).code == 201


def cluster_role(k: Session, name: str, *rules: JSONObject, **more: Any) -> None:
    """Make a ClusterRole; bound to ``robot`` in the whole cluster with ``bound``."""
    labels, bound = more.pop("labels", {}), more.pop("bound", True)
    body = {"metadata": {"name": name, "labels": labels}, "rules": list(rules), **more}
    assert k.http("POST", f"/apis/{RBAC}/clusterroles", body).code == 201
    if bound:
        body = {
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": k.namespace}],
        }
        assert k.http("POST", f"/apis/{RBAC}/clusterrolebindings", body).code == 201


def awaited(k: Session, token: str, path: str, code: int = 200) -> Answer:
    """A GET, once it is answered so: a real server learns of new roles a moment later."""
    answers: list[Answer] = []

    def arrives() -> bool:
        answers.append(k.http("GET", path, token=token))
        return answers[-1].code == code

    eventually_sync(arrives, f"GET {path} is answered {code}")
    return answers[-1]


# --- tokens


def test_a_token_says_whose_it_is(k: Session) -> None:
    token = account(k)
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["sub"] == user(k)
    assert claims["exp"] - claims["iat"] == 3600
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    me = k.http("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review, token=token).json
    groups = me["status"]["userInfo"]["groups"]
    assert me["status"]["userInfo"]["username"] == user(k)
    assert groups == ["system:serviceaccounts", f"system:serviceaccounts:{k.namespace}", "system:authenticated"]


def test_a_token_is_asked_for_as_a_subresource(k: Session) -> None:
    account(k)
    body: JSONObject = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 599},
    }
    path = f"{k.path('serviceaccounts', 'robot')}/token"
    refused = k.http("POST", path, body)
    assert (refused.code, refused.json["reason"]) == (422, "Invalid")
    assert (
        "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes"
        in (refused.json["message"])
    )
    made = k.http("POST", path, body | {"spec": {"expirationSeconds": 600}})
    assert made.code == 201
    assert made.json["kind"] == "TokenRequest"
    assert made.json["spec"]["expirationSeconds"] == 600
    assert set(made.json["status"]) == {"token", "expirationTimestamp"}
    assert k.http("POST", f"{k.path('serviceaccounts', 'nobody')}/token", body).code == 404


@pytest.mark.parametrize("change", ["another letter", "nonsense"])
def test_a_token_that_is_nobodys(k: Session, change: str) -> None:
    token = account(k)
    header, claims, signature = token.split(".")
    bad = f"{header}.{claims}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}" if change != "nonsense" else "no"
    refused = k.http("GET", "/api", token=bad)
    assert (refused.code, refused.json["reason"], refused.json["message"]) == (401, "Unauthorized", "Unauthorized")


def test_a_token_ends_with_its_account(k: Session) -> None:
    token = account(k)
    assert k.http("GET", "/api", token=token).code == 200
    k.kubectl("delete", "serviceaccount", "robot")
    awaited(k, token, "/api", 401)
    k.kubectl("create", "serviceaccount", "robot")
    assert k.http("GET", "/api", token=token).code == 401


def test_without_a_token_one_is_anonymous(k: Session) -> None:
    assert k.http("GET", "/version", token="").code == 200
    refused = k.http("GET", "/api/v1/namespaces", token="")
    assert refused.code == 403
    assert refused.json["message"] == (
        'namespaces is forbidden: User "system:anonymous" cannot list resource "namespaces" in API group "" at the '
        "cluster scope"
    )


# --- refusals, word for word

REFUSALS = [
    (
        "GET",
        "/api/v1/namespaces/{ns}/services",
        'services is forbidden: User "{user}" cannot list resource "services" in API group "" in the namespace "{ns}"',
        {"kind": "services"},
    ),
    (
        "GET",
        "/api/v1/namespaces/{ns}/services/web",
        (
            'services "web" is forbidden: User "{user}" cannot get resource "services" in API group "" in the '
            'namespace "{ns}"'
        ),
        {"name": "web", "kind": "services"},
    ),
    (
        "GET",
        "/apis/apps/v1/deployments?watch=true",
        (
            'deployments.apps is forbidden: User "{user}" cannot watch resource "deployments" in API group "apps" '
            "at the cluster scope"
        ),
        {"group": "apps", "kind": "deployments"},
    ),
    (
        "DELETE",
        "/apis/apps/v1/namespaces/{ns}/deployments",
        (
            'deployments.apps is forbidden: User "{user}" cannot deletecollection resource "deployments" in API '
            'group "apps" in the namespace "{ns}"'
        ),
        {"group": "apps", "kind": "deployments"},
    ),
    (
        "PATCH",
        "/apis/apps/v1/namespaces/{ns}/deployments/web/status",
        (
            'deployments.apps "web" is forbidden: User "{user}" cannot patch resource "deployments/status" in API '
            'group "apps" in the namespace "{ns}"'
        ),
        {"name": "web", "group": "apps", "kind": "deployments"},
    ),
    (
        "GET",
        "/api/v1/namespaces/{ns}",
        (
            'namespaces "{ns}" is forbidden: User "{user}" cannot get resource "namespaces" in API group "" in the '
            'namespace "{ns}"'
        ),
        {"name": "{ns}", "kind": "namespaces"},
    ),
    (
        "GET",
        "/apis/nowhere.example.com/v1/things",
        (
            'things.nowhere.example.com is forbidden: User "{user}" cannot list resource "things" in API group '
            '"nowhere.example.com" at the cluster scope'
        ),
        {"group": "nowhere.example.com", "kind": "things"},
    ),
    ("GET", "/metrics", 'forbidden: User "{user}" cannot get path "/metrics"', {}),
]


@pytest.mark.parametrize(("method", "path", "message", "details"), REFUSALS, ids=[row[1] for row in REFUSALS])
def test_a_refusal(k: Session, method: str, path: str, message: str, details: dict[str, str]) -> None:
    token = account(k)
    body: JSONObject | None = {} if method == "PATCH" else None
    refused = k.http(method, path.format(ns=k.namespace), body, media="application/merge-patch+json", token=token)
    assert refused.code == 403
    assert refused.json == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message.format(ns=k.namespace, user=user(k)),
        "reason": "Forbidden",
        "details": {key: value.format(ns=k.namespace) for key, value in details.items()},
        "code": 403,
    }


def test_a_binding_to_a_role_that_is_not_there_says_so(k: Session) -> None:
    token = account(k)
    bind(k, "gone", kind="ClusterRole")
    said = f'in the namespace "{k.namespace}": RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found'
    path = k.path("services")
    eventually_sync(lambda: k.http("GET", path, token=token).json["message"].endswith(said), said)


# --- rules


def test_a_role_holds_in_its_namespace(k: Session) -> None:
    token = account(k)
    role(k, rule("get list", "services"))
    awaited(k, token, k.path("services"))
    assert k.http("GET", k.path("services", "web"), token=token).code == 404
    assert k.http("GET", "/api/v1/namespaces/default/services", token=token).code == 403
    assert k.http("GET", "/api/v1/services", token=token).code == 403
    assert k.http("GET", k.path("configmaps"), token=token).code == 403
    assert k.http("POST", k.path("services"), {}, token=token).code == 403


def test_a_cluster_role_bound_in_a_namespace_holds_there(k: Session) -> None:
    token = account(k)
    cluster_role(k, f"{k.namespace}-reader", rule("*", "*", group="*"), bound=False)
    bind(k, f"{k.namespace}-reader", kind="ClusterRole")
    awaited(k, token, k.path("services"))
    assert k.http("GET", "/api/v1/services", token=token).code == 403


def test_a_cluster_role_bound_in_the_cluster_holds_everywhere(k: Session) -> None:
    token = account(k)
    cluster_role(k, f"{k.namespace}-reader", rule("list", "services"))
    awaited(k, token, "/api/v1/services")
    awaited(k, token, k.path("services"))


def test_subresources_are_resources_of_their_own(k: Session) -> None:
    token = account(k)
    k.kubectl("create", "service", "clusterip", "web", "--tcp=80")
    role(k, rule("get", "services"), rule("patch", "*/status"))
    path = k.path("services", "web")
    awaited(k, token, path)
    patch: JSONObject = {"metadata": {"labels": {"a": "b"}}}
    media = "application/merge-patch+json"
    assert k.http("PATCH", path, patch, media=media, token=token).code == 403
    assert k.http("GET", f"{path}/status", token=token).code == 403
    assert k.http("PATCH", f"{path}/status", patch, media=media, token=token).code == 200


def test_names(k: Session) -> None:
    token = account(k)
    role(
        k,
        rule("get list watch delete deletecollection update", "configmaps", names="mine"),
        rule("create", "configmaps"),
    )
    mine = awaited(k, token, k.path("configmaps", "mine"), 404)
    assert mine.json["reason"] == "NotFound"
    assert k.http("POST", k.path("configmaps"), {"metadata": {"name": "mine"}}, token=token).code == 201
    assert k.http("GET", k.path("configmaps", "other"), token=token).code == 403
    assert k.http("GET", k.path("configmaps"), token=token).code == 403
    named = f"{k.path('configmaps')}?fieldSelector=metadata.name%3Dmine"
    assert [item["metadata"]["name"] for item in k.http("GET", named, token=token).json["items"]] == ["mine"]
    assert k.http("GET", f"{named}&watch=true&timeoutSeconds=1", token=token).code == 200
    assert k.http("DELETE", named, token=token).code == 403
    assert k.http("DELETE", k.path("configmaps", "mine"), token=token).code == 200


def test_an_apply_that_creates_needs_both(k: Session) -> None:
    token = account(k)
    role(k, rule("get patch", "configmaps"))
    path = k.path("configmaps", "mine")
    awaited(k, token, path, 404)
    applied = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}, "data": {"a": "b"}}
    media = "application/apply-patch+yaml"
    refused = k.http("PATCH", f"{path}?fieldManager=robot", applied, media=media, token=token)
    assert refused.code == 403
    assert f'User "{user(k)}" cannot create resource "configmaps"' in refused.json["message"]
    assert k.http("PATCH", f"{path}?fieldManager=admin", applied, media=media).code == 201
    assert k.http("PATCH", f"{path}?fieldManager=robot", applied, media=media, token=token).code == 200


def test_paths_that_are_no_resources(k: Session) -> None:
    token = account(k)
    assert k.http("GET", "/openapi/v3", token=token).code == 200
    name = f"{k.namespace}-paths"
    cluster_role(k, name, {"verbs": ["get"], "nonResourceURLs": ["/logs/*", "/metrics"]})
    eventually_sync(lambda: k.http("GET", "/metrics", token=token).code != 403, "/metrics is allowed")
    assert k.http("GET", "/logs/some", token=token).code != 403
    assert k.http("GET", "/logs", token=token).code == 403


def test_groups_of_service_accounts(k: Session) -> None:
    token = account(k)
    body: JSONObject = {
        "metadata": {"name": "all"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "all"},
        "subjects": [
            {"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": f"system:serviceaccounts:{k.namespace}"}
        ],
    }
    rules = [rule("list", "configmaps")]
    k.http("POST", k.path("roles", group=RBAC), {"metadata": {"name": "all"}, "rules": rules})
    k.http("POST", k.path("rolebindings", group=RBAC), body)
    awaited(k, token, k.path("configmaps"))


def test_roles_made_of_others(k: Session, controllers: None) -> None:
    del controllers
    token = account(k)
    label = {f"aggregate-{k.namespace}": "true"}
    selector = {"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": label}]}}
    cluster_role(k, f"{k.namespace}-whole", **selector)
    assert k.http("GET", "/api/v1/services", token=token).code == 403
    cluster_role(k, f"{k.namespace}-part", rule("list", "services"), labels=label, bound=False)
    awaited(k, token, "/api/v1/services")
    whole = k.get("clusterrole", f"{k.namespace}-whole")
    assert whole["rules"] == [rule("list", "services")]
    k.kubectl("delete", "clusterrole", f"{k.namespace}-part")
    awaited(k, token, "/api/v1/services", 403)


# --- what is wrong with a role


@pytest.mark.parametrize(
    ("rules", "cause"),
    [
        ([{"apiGroups": [""], "resources": ["pods"], "verbs": []}], "rules[0].verbs: Required value"),
        ([{"resources": ["pods"], "verbs": ["get"]}], "rules[0].apiGroups: Required value"),
        ([{"apiGroups": [""], "verbs": ["get"]}], "rules[0].resources: Required value"),
        (
            [{"nonResourceURLs": ["/x"], "verbs": ["get"]}],
            'rules[0].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs',
        ),
    ],
)
def test_a_role_that_means_nothing(k: Session, rules: list[JSONObject], cause: str) -> None:
    refused = k.http("POST", k.path("roles", group=RBAC), {"metadata": {"name": "bad"}, "rules": rules})
    assert refused.code == 422
    assert cause in refused.json["message"]


def test_a_binding_stays_with_its_role(k: Session) -> None:
    bind(k, "one", kind="Role")
    patch = {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "two"}}
    path = k.path("rolebindings", "one", group=RBAC)
    refused = k.http("PATCH", path, patch, media="application/merge-patch+json")
    assert refused.code == 422
    assert "cannot change roleRef" in refused.json["message"]


# --- questions


def test_may_i(k: Session) -> None:
    token = account(k)
    role(k, rule("get list", "services"), rule("patch", "services/status"))
    awaited(k, token, k.path("services"))
    me = ("--as", user(k))

    def may(*question: str) -> str:
        return k.run("auth", "can-i", *question, *me).stdout

    assert may("list", "services") == "yes\n"
    assert may("patch", "services", "--subresource=status") == "yes\n"
    assert may("patch", "services") == "no\n"
    assert may("list", "services", "--all-namespaces") == "no\n"
    assert may("get", "/metrics") == "no\n"
    assert may("get", "/healthz") == "yes\n"
    listed = k.kubectl("auth", "can-i", "--list", "--no-headers", *me)
    rows = {" ".join(line.split()) for line in listed.splitlines()}
    assert {"services [] [] [get list]", "services/status [] [] [patch]"} <= rows


def test_why_i_may(k: Session) -> None:
    token = account(k)
    role(k, rule("list", "services"))
    awaited(k, token, k.path("services"))
    about = {"namespace": k.namespace, "verb": "list", "resource": "services"}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    found = k.http("POST", path, review | {"spec": {"resourceAttributes": about}}, token=token).json["status"]
    assert found == {
        "allowed": True,
        "reason": f'RBAC: allowed by RoleBinding "robot/{k.namespace}" of Role "robot" '
        f'to ServiceAccount "robot/{k.namespace}"',
    }
    asked = review | {"spec": {"resourceAttributes": about | {"verb": "delete"}}}
    assert k.http("POST", path, asked, token=token).json["status"] == {"allowed": False}


def test_acting_as_somebody_else_takes_a_permission(k: Session) -> None:
    account(k)
    token = account(k, "other")
    assert user(k) in k.kubectl("auth", "whoami", "--as", user(k))
    kubectl = k.run("get", "--raw", k.path("services"), "--token", token, "--as", "jane")
    assert kubectl.returncode != 0
    # Kubernetes 1.36 words it otherwise than the versions before it.
    assert f'User "{user(k, "other")}" cannot impersonate' in kubectl.stderr
