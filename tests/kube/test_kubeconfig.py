"""kubeconfig files, by kubectl's rules, and what is said when they cannot be used."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshfed.kube import ClusterConfig, ConfigError, detect, in_cluster, load_kubeconfig, pod_service_account
from meshfed.kube.config import proxy_for
from meshfed.kube.credentials import Credentials, ExecPlugin
from meshfed.kube.tls import TLSConfig

SECRET = "s3cr3t"


def config(
    *, user: dict[str, Any] | None = None, cluster: dict[str, Any] | None = None, name: str = "east"
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}.example:6443", **(cluster or {})}}],
        "users": [{"name": name, "user": user or {}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": f"{name}-ns"}}],
        "current-context": name,
    }


def write(path: Path, data: Any) -> str:
    path.write_text(data if isinstance(data, str) else yaml.safe_dump(data))
    return str(path)


async def authorization(found: ClusterConfig) -> str | None:
    return await found.credentials.authorization()


def load(tmp_path: Path, data: Any, **environ: str) -> ClusterConfig:
    return load_kubeconfig(write(tmp_path / "config", data), None, environ)


async def test_a_context_becomes_a_connection(tmp_path: Path) -> None:
    found = load(tmp_path, config(user={"token": SECRET}, cluster={"tls-server-name": "api"}))
    assert (found.server, found.namespace) == ("https://east.example:6443", "east-ns")
    assert found.tls == TLSConfig(server_name="api")
    assert found.source == f"context east of {tmp_path / 'config'}"
    assert await authorization(found) == f"Bearer {SECRET}"


async def test_the_first_file_of_the_list_wins_entry_by_entry(tmp_path: Path) -> None:
    first = config(user={"token": "first"})
    first["contexts"] = []
    second = config(user={"token": "second", "username": "u"}, cluster={"server": "https://other"})
    second["current-context"] = "west"
    second["contexts"] += config(name="west")["contexts"]
    second["clusters"] += config(name="west")["clusters"]
    second["users"] += config(name="west", user={"username": "jane", "password": SECRET})["users"]
    paths = [write(tmp_path / "one", first), str(tmp_path / "missing"), "", write(tmp_path / "two", second)]
    environ = {"KUBECONFIG": ":".join(paths)}
    found = load_kubeconfig(None, None, environ)
    assert (found.server, found.namespace) == ("https://east.example:6443", "east-ns")
    assert await authorization(found) == "Bearer first"
    west = load_kubeconfig(None, "west", environ)
    assert await authorization(west) == "Basic " + base64.b64encode(f"jane:{SECRET}".encode()).decode()


async def test_the_default_file(tmp_path: Path) -> None:
    (tmp_path / ".kube").mkdir()
    write(tmp_path / ".kube" / "config", config(user={"token": "home"}))
    assert await authorization(load_kubeconfig(None, None, {"HOME": str(tmp_path)})) == "Bearer home"


async def test_paths_are_relative_to_their_file(tmp_path: Path) -> None:
    (tmp_path / "pki").mkdir()
    write(tmp_path / "pki" / "token", f"{SECRET}\n")
    user = {"tokenFile": "pki/token", "client-certificate": "pki/c.crt", "client-key": "/abs/c.key"}
    found = load(tmp_path, config(user=user, cluster={"certificate-authority": "pki/ca.crt"}))
    assert found.tls.ca == tmp_path / "pki" / "ca.crt"
    certificate = await found.credentials.certificate()
    assert certificate is not None
    assert (certificate.certificate, certificate.key) == (tmp_path / "pki" / "c.crt", Path("/abs/c.key"))
    assert await authorization(found) == f"Bearer {SECRET}"


async def test_data_takes_precedence_over_files(tmp_path: Path) -> None:
    data = base64.b64encode(b"PEM").decode()
    user = {"client-certificate": "x", "client-certificate-data": data, "client-key-data": data[:2] + "\n" + data[2:]}
    cluster = {"certificate-authority": "x", "certificate-authority-data": data}
    found = load(tmp_path, config(user=user, cluster=cluster))
    certificate = await found.credentials.certificate()
    assert certificate is not None
    assert (found.tls.ca, certificate.certificate, certificate.key) == (b"PEM", b"PEM", b"PEM")


def test_impersonation(tmp_path: Path) -> None:
    user = {"as": "jane", "as-uid": "7", "as-groups": ["a", "b"], "as-user-extra": {"example.org/x": ["1"]}}
    assert load(tmp_path, config(user=user)).impersonate == (
        ("Impersonate-User", "jane"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
        ("Impersonate-Extra-example.org%2Fx", "1"),
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{", "is not YAML at line"),
        ([], "Expected `object`, got `array`; correct it"),
        (config(user={"token": ["x"]}), "users[0].user.token: Expected `str`, got `array`; correct it"),
        (config() | {"current-context": ""}, "current-context: no context is chosen; name one with --context"),
        (config() | {"current-context": "west"}, "contexts: there is no 'west'; there are: east"),
        (config() | {"clusters": []}, "clusters: there is no 'east'; there are: none"),
        (config() | {"users": []}, "users: there is no 'east'; there are: none"),
        (config(cluster={"server": "http://[east"}), "clusters[east].server: 'http://[east' is no http or https URL"),
        (
            config(cluster={"server": "http://e:99999"}),
            "clusters[east].server: 'http://e:99999' is no http or https URL",
        ),
        (config(cluster={"server": "east:6443"}), "clusters[east].server: 'east:6443' is no http or https URL"),
        (
            config(cluster={"certificate-authority-data": "%"}),
            "clusters[east].certificate-authority-data: is not base64",
        ),
        (
            config(cluster={"certificate-authority": "x", "insecure-skip-tls-verify": True}),
            "clusters[east].insecure-skip-tls-verify: is true, and there is a certificate authority to verify by",
        ),
        (config(cluster={"proxy-url": "socks5://x"}), "clusters[east].proxy-url: a proxy by 'socks5' is not supported"),
        (config(user={"client-key": "x"}), "users[east].client-certificate: is missing beside its other half"),
        (config(user={"as-groups": ["x"]}), "users[east].as: is missing beside as-uid"),
        (
            config(user={"auth-provider": {"name": "gcp"}}),
            "users[east].auth-provider: the built-in provider 'gcp' left Kubernetes in 1.26; use the provider's exec",
        ),
        (
            config(user={"exec": {"apiVersion": "client.authentication.k8s.io/v1alpha1", "command": "x"}}),
            "users[east].exec.apiVersion: 'client.authentication.k8s.io/v1alpha1' is not supported; it must be",
        ),
        (
            config(user={"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "x"}}),
            "users[east].exec.interactiveMode: is ''; it must be one of Always, IfAvailable, Never",
        ),
        (
            config(user={"exec": {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": ""}}),
            "users[east].exec.command: is empty",
        ),
    ],
)
def test_what_cannot_be_used(tmp_path: Path, data: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, data)
    assert str(caught.value).startswith(str(tmp_path / "config"))
    assert message in str(caught.value)


def test_files_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="/nowhere: does not exist; check what --kubeconfig names"):
        load_kubeconfig("/nowhere", None, {})
    with pytest.raises(ConfigError, match=r"\$KUBECONFIG=/no:/where: none of its files exists"):
        load_kubeconfig(None, None, {"KUBECONFIG": "/no:/where"})
    with pytest.raises(ConfigError, match="name a kubeconfig with --kubeconfig"):
        load_kubeconfig(None, None, {"HOME": str(tmp_path)})


def test_no_secret_is_ever_shown(tmp_path: Path) -> None:
    data = base64.b64encode(SECRET.encode()).decode()
    certificate = {"client-certificate-data": data, "client-key-data": data}
    users: list[dict[str, Any]] = [
        {"token": SECRET, **certificate},
        {"username": "u", "password": SECRET},
        {"tokenFile": write(tmp_path / "token", SECRET)},
        {
            "exec": {
                "apiVersion": "client.authentication.k8s.io/v1beta1",
                "command": "x",
                "env": [{"name": "KEY", "value": SECRET}],
            }
        },
    ]
    for user in users:
        found = load(tmp_path, config(user=user, cluster={"proxy-url": f"http://u:{SECRET}@proxy"}))
        assert SECRET not in repr(found)
        assert data not in repr(found)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"users: [{{token: {SECRET}}}")
    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None or SECRET not in str(caught.value.__cause__)


def service_account(root: Path) -> Path:
    root.mkdir()
    write(root / "token", "pod-token\n")
    write(root / "namespace", "mesh-ns\n")
    return root


async def test_in_a_pod(tmp_path: Path) -> None:
    root = service_account(tmp_path / "account")
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    found = in_cluster(environ, root)
    assert (found.server, found.namespace, found.tls.ca) == ("https://[fd00::1]:443", "mesh-ns", root / "ca.crt")
    assert await authorization(found) == "Bearer pod-token"
    with pytest.raises(ConfigError, match="so this is no pod of a cluster"):
        in_cluster({}, root)
    with pytest.raises(ConfigError, match="give the pod a service account"):
        in_cluster(environ, tmp_path / "none")


def token(subject: object) -> str:
    """What a ServiceAccount's token looks like."""
    claims = base64.urlsafe_b64encode(json.dumps({"iss": "https://kubernetes", "sub": subject}).encode())
    return f"{SECRET}.{claims.decode().rstrip('=')}.{SECRET}"


@pytest.mark.parametrize(
    ("text", "account"),
    [
        (token("system:serviceaccount:istio-system:controller-of-east"), ("istio-system", "controller-of-east")),
        (token("system:serviceaccount:mesh:a") + "\n", ("mesh", "a")),
        (token("system:node:worker"), None),
        (token("system:serviceaccount:mesh"), None),
        (token("system:serviceaccount:mesh:"), None),
        (token("system:serviceaccount:mesh:a:b"), None),
        (token(7), None),
        ("opaque", None),
        (f"{SECRET}.{SECRET}.{SECRET}", None),
        ("", None),
        (None, None),
    ],
)
def test_a_pods_token_says_as_whom_it_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str | None, account: tuple[str, str] | None
) -> None:
    if text is not None:
        (tmp_path / "token").write_text(text)
    assert pod_service_account(tmp_path) == account
    assert SECRET not in caplog.text


def test_where_the_cluster_is_looked_for(tmp_path: Path) -> None:
    root = service_account(tmp_path / "account")
    (tmp_path / ".kube").mkdir()
    write(tmp_path / ".kube" / "config", config(name="home"))
    explicit = write(tmp_path / "explicit", config(name="explicit"))
    listed = write(tmp_path / "listed", config(name="listed"))
    pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443", "HOME": str(tmp_path)}
    everything = {**pod, "KUBECONFIG": listed}
    assert detect(environ=everything, path=explicit, root=root).server == "https://explicit.example:6443"
    assert detect(environ=everything, root=root).server == "https://listed.example:6443"
    assert detect(environ=pod, root=root).server == "https://10.0.0.1:443"
    assert detect(environ=pod, context="home", root=root).server == "https://home.example:6443"
    assert detect(environ={"HOME": str(tmp_path)}, root=root).server == "https://home.example:6443"


@pytest.mark.parametrize(
    ("server", "environ", "proxied"),
    [
        ("https://api.example", {"HTTPS_PROXY": "http://p"}, True),
        ("https://api.example", {"HTTP_PROXY": "http://p"}, False),
        ("http://api.example", {"http_proxy": "http://p"}, True),
        ("https://localhost:6443", {"HTTPS_PROXY": "http://p"}, False),
        ("https://127.0.0.1:6443", {"HTTPS_PROXY": "http://p"}, False),
        ("https://[::1]:6443", {"HTTPS_PROXY": "http://p"}, False),
        ("https://10.96.0.1", {"HTTPS_PROXY": "http://p", "NO_PROXY": "a, 10.96.0.0/12"}, False),
        ("https://10.96.0.1", {"HTTPS_PROXY": "http://p", "NO_PROXY": "10.96.0.2"}, True),
        ("https://api.example", {"HTTPS_PROXY": "http://p", "NO_PROXY": ".example"}, False),
        ("https://api.example", {"HTTPS_PROXY": "http://p", "no_proxy": "*.example,x"}, False),
        ("https://api.example", {"HTTPS_PROXY": "http://p", "NO_PROXY": "pi.example"}, True),
        ("https://api.example", {"HTTPS_PROXY": "http://p", "NO_PROXY": "*"}, False),
        ("https://api.example", {}, False),
    ],
)
def test_proxies_of_the_environment(server: str, environ: dict[str, str], proxied: bool) -> None:
    assert proxy_for(server, environ) == ("http://p" if proxied else None)


def test_a_proxy_in_the_file_wins(tmp_path: Path) -> None:
    data = config(cluster={"proxy-url": "http://mine:1"})
    assert load(tmp_path, data, HTTPS_PROXY="http://p").proxy == "http://mine:1"
    assert load(tmp_path, config(), HTTPS_PROXY="http://p").proxy == "http://p"


def test_kinds_of_credentials(tmp_path: Path) -> None:
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "x", "interactiveMode": "Never"}
    assert type(load(tmp_path, config(user={"exec": plugin})).credentials) is ExecPlugin
    assert type(load(tmp_path, config()).credentials) is Credentials
