"""Where certificates are, from the objects of a namespace. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from g3zkp_maint.certificates.certificate import Chain, read_chain
from g3zkp_maint.certificates.facts import Mounter, Place
from g3zkp_maint.errors import CertificateUnreadable
from g3zkp_maint.lack import Lack

Object = Mapping[str, Any]
_TLS = "kubernetes.io/tls"
_ISSUER = "cert-manager.io/certificate-name"
_KINDS = ("Deployment", "StatefulSet", "DaemonSet")


def places(objects: Sequence[Object], namespace: str, workloads: Mapping[str, str]) -> tuple[Place, ...]:
    """A place for each Secret of type kubernetes.io/tls. `workloads` are the product's names by those in the cluster."""
    hosts, issuers = _ingress_hosts(objects), _issuers(objects)
    secrets = {_name(one): one for one in objects if one.get("kind") == "Secret" and one.get("type") == _TLS}
    found = [
        _place(secret, namespace, hosts, issuers, _mounters(objects, name, workloads))
        for name, secret in secrets.items()
    ]
    # What is there under another type serves no Ingress either.
    found += [_missing(name, namespace, wanted) for name, wanted in hosts.items() if name and name not in secrets]
    return tuple(sorted(found, key=lambda one: one.name))


def unseen_hosts(objects: Sequence[Object], asked: Collection[str]) -> tuple[Lack, ...]:
    """The hosts of Ingresses that no Secret of the namespace is for; `asked` are asked by a handshake."""
    without = (
        "its certificate, if it has one, is the controller's or stands before it; name it in certificates.endpoints"
    )
    hosts = {
        str(rule.get("host") or "")
        for one in objects
        if one.get("kind") == "Ingress"
        for rule in one.get("spec", {}).get("rules") or ()
    }
    covered = {host for secret, of_it in _ingress_hosts(objects).items() if secret for host in of_it}
    return tuple(Lack(f"Ingress host {host}", without) for host in sorted(hosts - covered - {"", *asked}))


def _missing(name: str, namespace: str, hosts: tuple[str, ...]) -> Place:
    problem = f"an Ingress for {', '.join(hosts) or 'all hosts'} names it, and there is no such Secret of type {_TLS}"
    return Place(f"Secret/{namespace}/{name}", None, problem)


def _place(
    secret: Object,
    namespace: str,
    hosts: Mapping[str, tuple[str, ...]],
    issuers: Mapping[str, str],
    mounters: tuple[Mounter, ...],
) -> Place:
    name = _name(secret)
    problem, chain = "", None
    try:
        chain = _chain(secret.get("data") or {})
    except CertificateUnreadable as error:
        problem = str(error)
    annotations = secret["metadata"].get("annotations") or {}
    return Place(
        name=f"Secret/{namespace}/{name}",
        chain=chain,
        problem=problem,
        hosts=hosts.get(name, ()),
        secret=name,
        issuer=issuers.get(name) or str(annotations.get(_ISSUER, "")),
        mounters=mounters,
    )


def _chain(data: Mapping[str, str]) -> Chain:
    try:
        pem, key = (base64.b64decode(data.get(name, ""), validate=True) for name in ("tls.crt", "tls.key"))
    except (binascii.Error, ValueError) as error:
        raise CertificateUnreadable("tls.crt or tls.key is no base64") from error
    return read_chain(pem, key)


def _ingress_hosts(objects: Iterable[Object]) -> dict[str, tuple[str, ...]]:
    """By Secret: the hosts for which an Ingress uses it."""
    found: dict[str, list[str]] = {}
    for ingress in objects:
        if ingress.get("kind") != "Ingress":
            continue
        for entry in ingress.get("spec", {}).get("tls") or ():
            found.setdefault(str(entry.get("secretName", "")), []).extend(entry.get("hosts") or ())
    return {secret: tuple(sorted(set(hosts))) for secret, hosts in found.items()}


def _issuers(objects: Iterable[Object]) -> dict[str, str]:
    """By Secret: the Certificate of cert-manager that makes it."""
    return {
        str(one.get("spec", {}).get("secretName", "")): _name(one)
        for one in objects
        if one.get("kind") == "Certificate" and str(one.get("apiVersion", "")).startswith("cert-manager.io/")
    }


def _mounters(objects: Iterable[Object], secret: str, workloads: Mapping[str, str]) -> tuple[Mounter, ...]:
    found = [
        Mounter(str(one["kind"]), _name(one), workloads.get(_name(one)))
        for one in objects
        if one.get("kind") in _KINDS and secret in set(secrets_of(one))
    ]
    return tuple(sorted(found, key=lambda mounter: (mounter.kind, mounter.name)))


def secrets_of(workload: Object) -> Iterator[str]:
    """The Secrets that its pods read when they start: as files, or as variables."""
    spec = workload.get("spec", {}).get("template", {}).get("spec", {})
    for volume in spec.get("volumes") or ():
        yield str((volume.get("secret") or {}).get("secretName", ""))
        for source in (volume.get("projected") or {}).get("sources") or ():
            yield str((source.get("secret") or {}).get("name", ""))
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        for origin in container.get("envFrom") or ():
            yield str((origin.get("secretRef") or {}).get("name", ""))
        for variable in container.get("env") or ():
            yield str(((variable.get("valueFrom") or {}).get("secretKeyRef") or {}).get("name", ""))


def _name(one: Object) -> str:
    return str(one["metadata"]["name"])
