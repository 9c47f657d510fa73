"""kubeconfig files: read, merged by kubectl's rules, and turned into the connection that a context names.

The rules (https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/): an explicit
file stands alone; ``$KUBECONFIG`` is a list, files of it that do not exist are passed over, and the first file to
name a cluster, user, context or the current context wins, whole; paths are relative to the file they stand in.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlsplit

import msgspec
import yaml

from meshfed.kube.config import SERVICE_ACCOUNT, ClusterConfig, in_cluster, proxy_for
from meshfed.kube.credentials import (
    EXEC_VERSIONS,
    ClientCertificate,
    Credentials,
    ExecPlugin,
    ExecSpec,
    Pem,
    Static,
    TokenFile,
)
from meshfed.kube.errors import ConfigError
from meshfed.kube.tls import TLSConfig

_LOADER: Final = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_EXEC_EXTENSION: Final = "client.authentication.k8s.io/exec"


class _Extension(msgspec.Struct):
    name: str
    extension: Any = None


class _Cluster(msgspec.Struct, rename="kebab"):
    server: str = ""
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""
    proxy_url: str = ""
    disable_compression: bool = False
    extensions: list[_Extension] | None = None


class _User(msgspec.Struct, rename="kebab"):
    token: str = ""
    token_file: str = msgspec.field(default="", name="tokenFile")
    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""
    username: str = ""
    password: str = ""
    exec: ExecSpec | None = None
    auth_provider: dict[str, Any] | None = None
    as_user: str = msgspec.field(default="", name="as")
    as_uid: str = ""
    as_groups: list[str] | None = None
    as_user_extra: dict[str, list[str]] | None = None


class _Context(msgspec.Struct):
    cluster: str = ""
    user: str = ""
    namespace: str = ""


class _NamedCluster(msgspec.Struct):
    name: str
    cluster: _Cluster


class _NamedUser(msgspec.Struct):
    name: str
    user: _User


class _NamedContext(msgspec.Struct):
    name: str
    context: _Context


class _File(msgspec.Struct, rename="kebab"):
    clusters: list[_NamedCluster] | None = None
    users: list[_NamedUser] | None = None
    contexts: list[_NamedContext] | None = None
    current_context: str = ""


_T = TypeVar("_T")


class _Place(msgspec.Struct, frozen=True):
    """Where an entry stands: what its relative paths are relative to, and what messages name."""

    file: Path
    field: str

    def problem(self, problem: str, field: str, remedy: str) -> ConfigError:
        return ConfigError(problem, where=str(self.file), field=f"{self.field}.{field}", remedy=remedy)

    def path(self, relative: str) -> Path:
        return self.file.parent.absolute() / relative

    def pem(self, file: str, data: str, field: str) -> Pem | None:
        """The data where there is some, else the file: data takes precedence."""
        if not data:
            return self.path(file) if file else None
        try:
            return base64.b64decode("".join(data.split()), validate=True)
        except binascii.Error:
            raise self.problem("is not base64", f"{field}-data", "encode the PEM text with base64") from None


class _Merged:
    """The files as one: every entry with its place, the first of each name."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.clusters: dict[str, tuple[_Cluster, _Place]] = {}
        self.users: dict[str, tuple[_User, _Place]] = {}
        self.contexts: dict[str, tuple[_Context, _Place]] = {}
        self.current = ""

    def add(self, file: _File, path: Path) -> None:
        for cluster in file.clusters or ():
            self.clusters.setdefault(cluster.name, (cluster.cluster, _Place(path, f"clusters[{cluster.name}]")))
        for user in file.users or ():
            self.users.setdefault(user.name, (user.user, _Place(path, f"users[{user.name}]")))
        for context in file.contexts or ():
            self.contexts.setdefault(context.name, (context.context, _Place(path, f"contexts[{context.name}]")))
        self.current = self.current or file.current_context

    def choose(self, name: str) -> tuple[_Context, _Place]:
        if not name:
            raise ConfigError(
                "no context is chosen",
                where=self.where,
                field="current-context",
                remedy="name one with --context, or with `kubectl config use-context`",
            )
        return self.find(self.contexts, name, "contexts")

    def find(self, entries: Mapping[str, tuple[_T, _Place]], name: str, field: str) -> tuple[_T, _Place]:
        if name not in entries:
            known = ", ".join(sorted(entries)) or "none"
            raise ConfigError(f"there is no {name!r}", where=self.where, field=field, remedy=f"there are: {known}")
        return entries[name]


def detect(
    *,
    environ: Mapping[str, str],
    path: str | None = None,
    context: str | None = None,
    root: Path = SERVICE_ACCOUNT,
) -> ClusterConfig:
    """Find the cluster: ``path`` or ``context`` if given, ``$KUBECONFIG``, this pod's, ``~/.kube/config``.

    Raises ``ConfigError`` where none is there, or the one that is cannot be used.
    """
    explicit = path or context or environ.get("KUBECONFIG")
    if not explicit and environ.get("KUBERNETES_SERVICE_HOST") and (root / "token").exists():
        return in_cluster(environ, root)
    return load_kubeconfig(path, context, environ)


def load_kubeconfig(path: str | None, context: str | None, environ: Mapping[str, str]) -> ClusterConfig:
    """The cluster that ``context`` (the current one where absent) names.

    It is looked for in the file ``path``, else in the files of ``$KUBECONFIG``, else in ``~/.kube/config``. Raises
    ``ConfigError`` with file, field and remedy where nothing usable is there.
    """
    files, where = _files(path, environ)
    merged = _Merged(where)
    for file in files:
        merged.add(_read(file), file)
    name = context or merged.current
    chosen, _ = merged.choose(name)
    cluster, cluster_place = merged.find(merged.clusters, chosen.cluster, "clusters")
    server = cluster.server.rstrip("/")
    if not _is_url(server):
        raise cluster_place.problem(f"{server!r} is no http or https URL", "server", "name the API server's URL")
    tls = _tls(cluster, cluster_place)
    credentials = Credentials()
    impersonate: tuple[tuple[str, str], ...] = ()
    if chosen.user:
        user, user_place = merged.find(merged.users, chosen.user, "users")
        credentials = _credentials(user, user_place, environ, _cluster_info(cluster, server, tls))
        impersonate = _impersonate(user, user_place)
    return ClusterConfig(
        server=server,
        namespace=chosen.namespace or "default",
        tls=tls,
        credentials=credentials,
        proxy=_proxy(cluster, cluster_place) or proxy_for(server, environ),
        impersonate=impersonate,
        source=f"context {name} of {where}",
        context=name,
    )


def contexts(path: str | None, environ: Mapping[str, str]) -> list[str]:
    """The names of the contexts of the file ``path``, or of wherever `load_kubeconfig` looks, sorted."""
    files, where = _files(path, environ)
    merged = _Merged(where)
    for file in files:
        merged.add(_read(file), file)
    return sorted(merged.contexts)


def _files(path: str | None, environ: Mapping[str, str]) -> tuple[list[Path], str]:
    if path:
        file = Path(path).expanduser()
        if not file.exists():
            raise ConfigError("does not exist", where=path, remedy="check what --kubeconfig names")
        return [file], path
    listed = environ.get("KUBECONFIG")
    if listed:
        where = f"$KUBECONFIG={listed}"
        files = [Path(part) for part in dict.fromkeys(listed.split(os.pathsep)) if part and Path(part).exists()]
        if not files:
            raise ConfigError("none of its files exists", where=where, remedy="correct the variable")
        return files, where
    home = environ.get("HOME")
    default = (Path(home) if home else Path.home()) / ".kube" / "config"
    if not default.exists():
        remedy = "name a kubeconfig with --kubeconfig or $KUBECONFIG"
        raise ConfigError("does not exist", where=str(default), remedy=remedy)
    return [default], str(default)


def _read(path: Path) -> _File:
    try:
        data = yaml.load(path.read_bytes(), Loader=_LOADER)  # noqa: S506 - both are safe
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path), remedy="check permissions") from error
    except (yaml.YAMLError, RecursionError) as error:
        # The error's own text quotes the line, which may hold a token.
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"is not YAML{line}", where=str(path), remedy="correct it") from None
    try:
        return msgspec.convert({} if data is None else data, _File)
    except msgspec.ValidationError as error:
        problem, _, field = str(error).partition(" - at `$.")
        raise ConfigError(problem, where=str(path), field=field.rstrip("`"), remedy="correct it") from None


def _tls(cluster: _Cluster, place: _Place) -> TLSConfig:
    ca = place.pem(cluster.certificate_authority, cluster.certificate_authority_data, "certificate-authority")
    if ca is not None and cluster.insecure_skip_tls_verify:
        raise place.problem(
            "is true, and there is a certificate authority to verify by",
            "insecure-skip-tls-verify",
            "remove one of the two",
        )
    return TLSConfig(ca=ca, server_name=cluster.tls_server_name or None, insecure=cluster.insecure_skip_tls_verify)


def _proxy(cluster: _Cluster, place: _Place) -> str | None:
    if not cluster.proxy_url:
        return None
    if not _is_url(cluster.proxy_url):
        scheme = cluster.proxy_url.partition(":")[0]
        raise place.problem(f"a proxy by {scheme!r} is not supported", "proxy-url", "use an http or https proxy")
    return cluster.proxy_url


def _is_url(text: str) -> bool:
    """Whether a text is the URL of something that speaks HTTP."""
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _credentials(user: _User, place: _Place, environ: Mapping[str, str], cluster: dict[str, Any]) -> Credentials:
    if user.auth_provider is not None:
        provider = user.auth_provider.get("name", "")
        raise place.problem(
            f"the built-in provider {provider!r} left Kubernetes in 1.26",
            "auth-provider",
            "use the provider's exec plugin (gke-gcloud-auth-plugin, kubelogin), or a token",
        )
    certificate = _certificate(user, place)
    if user.token_file:
        return TokenFile(place.path(user.token_file), initial=user.token, certificate=certificate)
    if user.token:
        return Static.token(user.token, certificate=certificate)
    if user.username:
        return Static.basic(user.username, user.password, certificate=certificate)
    if user.exec is not None:
        _check_exec(user.exec, place)
        return ExecPlugin(
            user.exec,
            where=f"{place.file}: {place.field}",
            directory=place.file.parent.absolute(),
            environ=environ,
            cluster=cluster if user.exec.provide_cluster_info else None,
            certificate=certificate,
        )
    return Credentials(certificate=certificate)


def _certificate(user: _User, place: _Place) -> ClientCertificate | None:
    certificate = place.pem(user.client_certificate, user.client_certificate_data, "client-certificate")
    key = place.pem(user.client_key, user.client_key_data, "client-key")
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        missing = "client-certificate" if certificate is None else "client-key"
        raise place.problem("is missing beside its other half", missing, "give both certificate and key")
    return ClientCertificate(certificate, key)


def _check_exec(spec: ExecSpec, place: _Place) -> None:
    if spec.api_version not in EXEC_VERSIONS:
        known = " or ".join(EXEC_VERSIONS)
        raise place.problem(f"{spec.api_version!r} is not supported", "exec.apiVersion", f"it must be {known}")
    if not spec.command:
        raise place.problem("is empty", "exec.command", "name the credential program")
    modes = {"Never", "IfAvailable", "Always"} | ({""} if spec.api_version.endswith("beta1") else set())
    if spec.interactive_mode not in modes:
        known = ", ".join(sorted(modes - {""}))
        raise place.problem(f"is {spec.interactive_mode!r}", "exec.interactiveMode", f"it must be one of {known}")


def _cluster_info(cluster: _Cluster, server: str, tls: TLSConfig) -> dict[str, Any]:
    """What an exec plugin is told of the cluster; a CA in a file is read, since plugins always get its bytes."""
    info: dict[str, Any] = {"server": server}
    if tls.server_name:
        info["tls-server-name"] = tls.server_name
    if tls.insecure:
        info["insecure-skip-tls-verify"] = True
    ca = tls.ca.read_bytes() if isinstance(tls.ca, Path) and tls.ca.exists() else tls.ca
    if isinstance(ca, bytes):
        info["certificate-authority-data"] = base64.b64encode(ca).decode()
    if cluster.proxy_url:
        info["proxy-url"] = cluster.proxy_url
    if cluster.disable_compression:
        info["disable-compression"] = True
    for extension in cluster.extensions or ():
        if extension.name == _EXEC_EXTENSION:
            info["config"] = extension.extension
    return info


def _impersonate(user: _User, place: _Place) -> tuple[tuple[str, str], ...]:
    if not user.as_user:
        # Without the user the rest would be dropped by the server, and we would act as ourselves.
        if user.as_uid or user.as_groups or user.as_user_extra:
            raise place.problem("is missing beside as-uid, as-groups or as-user-extra", "as", "name the user")
        return ()
    headers = [("Impersonate-User", user.as_user)]
    if user.as_uid:
        headers.append(("Impersonate-Uid", user.as_uid))
    headers += [("Impersonate-Group", group) for group in user.as_groups or ()]
    for key, values in (user.as_user_extra or {}).items():
        headers += [(f"Impersonate-Extra-{quote(key, safe='')}", value) for value in values]
    return tuple(headers)
