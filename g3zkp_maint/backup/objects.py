"""The cluster's objects as a backup keeps them: what somebody declared, without what a cluster adds by itself.

A backup must be taken back by `kubectl apply`, on this cluster or another. So what only the server may set is taken out
(identity, versions, status, addresses, volumes), and what controllers make by themselves is left out: it comes again, and
brought back by hand it would fight them. Not for objects that this file does not know: of a custom resource all is kept
but status and metadata of the server.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

Document = dict[str, Any]

#: Set by the server alone: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/
_METADATA = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
    "generateName",
    # Owners are known by uid; one that is not there has the object collected as garbage.
    "ownerReferences",
    # Their controllers add them again; where such a controller is missing the object could never be deleted.
    "finalizers",
)
#: Written by controllers: which revision, which volume, which node.
_ANNOTATIONS = re.compile(
    r"deployment\.kubernetes\.io/revision|deprecated\.daemonset\.template\.generation"
    r"|pv\.kubernetes\.io/.*|volume(\.beta)?\.kubernetes\.io/(storage-provisioner|selected-node)"
    r"|autoscaling\.alpha\.kubernetes\.io/(conditions|current-metrics)|endpoints\.kubernetes\.io/.*"
    r"|batch\.kubernetes\.io/job-tracking|kubernetes\.io/service-account\.uid"
    # What `kubectl apply` was given last, Secrets a second time among it: it writes that anew.
    r"|kubectl\.kubernetes\.io/last-applied-configuration"
)
_JOB_LABELS = ("controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name")
_TOKEN = "kubernetes.io/service-account-token"  # noqa: S105  a type of Secret
_TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105  a path
#: Before 1.24 each ServiceAccount was given a token, under its own name and this: characters that make no words.
_AUTOMATIC = "-token-[bcdfghjklmnpqrstvwxz2456789]{5}"
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9./_-]*")
_WORDS_WITH_A_MEANING = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
#: The label of what the product itself puts into the namespace for a while: helper pods.
_MANAGED_BY = "app.kubernetes.io/managed-by"
OURS = "g3zkp-maint"


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """Which object it is, in its namespace. Without the version: the same object may be written in several."""

    group: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}{f'.{self.group}' if '.' in self.group else ''}/{self.name}"


def identity(document: Document) -> Identity:
    group, slash, _ = str(document.get("apiVersion", "")).rpartition("/")
    return Identity(group if slash else "", str(document.get("kind")), str(document["metadata"]["name"]))


def kept(objects: Iterable[Document]) -> list[Document]:
    """Of all objects of a namespace those that a backup keeps, cleaned, each once, in the order they came. What is none
    (it lacks kind or name) is kept as it is, at the end: a backup loses nothing, and a drill tells of it."""
    found = list(objects)
    everything = _each_once(one for one in found if is_object(one))
    uids = {str(one["metadata"].get("uid")) for one in everything}
    selecting = {one["metadata"]["name"] for one in everything if _kind(one) == "Service" and _selects(one)}
    return [
        cleaned(one)
        for one in everything
        if not (_is_made(one, uids) or _is_derived(one, selecting) or _is_over(one) or _is_ours(one))
    ] + [one for one in found if not is_object(one)]


def is_object(document: Any) -> bool:
    """Whether it says of which kind it is, and its name."""
    if not isinstance(document, dict) or not isinstance(document.get("kind"), str) or not document["kind"]:
        return False
    metadata = document.get("metadata")
    return isinstance(metadata, dict) and isinstance(metadata.get("name"), str) and bool(metadata["name"])


def cleaned(document: Document) -> Document:
    """A copy without what the server sets."""
    clean: Document = copy.deepcopy(document)
    clean.pop("status", None)
    metadata = clean["metadata"]
    for name in _METADATA:
        metadata.pop(name, None)
    annotations = metadata.get("annotations") or {}
    metadata["annotations"] = {name: text for name, text in annotations.items() if not _ANNOTATIONS.fullmatch(name)}
    for name in ("annotations", "labels"):
        if not metadata.get(name):
            metadata.pop(name, None)
    _clean_kind(clean)
    return clean


def as_yaml(documents: Iterable[Document]) -> bytes:
    """One YAML document each, that every reader of YAML understands alike, also those of version 1.1, to which `y` is a
    truth value and `1e3` a number: what is not plainly a word stands in quotes."""
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=True, explicit_start=True).encode()


class _Dumper(yaml.CSafeDumper):
    pass


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    is_word = _WORD.fullmatch(text) and text.lower() not in _WORDS_WITH_A_MEANING
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if is_word else '"')


_Dumper.add_representer(str, _text)


def exact(wanted: Document, found: Document) -> Document:
    """`wanted` with what the server has set in `found`, the same object as it is: what replaces it. All that somebody has
    added to it since is not in there."""
    whole: Document = _with_set(wanted, found, cleaned(found))
    annotations = found["metadata"].get("annotations") or {}
    by_server = {name: text for name, text in annotations.items() if _ANNOTATIONS.fullmatch(name)}
    if by_server:
        whole["metadata"]["annotations"] = {**by_server, **wanted["metadata"].get("annotations", {})}
    return whole


def _with_set(wanted: Any, found: Any, clean: Any) -> Any:
    if not (isinstance(wanted, dict) and isinstance(found, dict)):
        return wanted
    merged = {key: _with_set(value, found.get(key), (clean or {}).get(key)) for key, value in wanted.items()}
    return {**{key: value for key, value in found.items() if key not in (clean or {})}, **merged}


# -- what is left out ------------------------------------------------------------------------------------------------------


def _each_once(objects: Iterable[Document]) -> list[Document]:
    """Some kinds are served by two groups: the same uid, and the older group is `extensions`."""
    found: dict[str, Document] = {}
    for number, one in enumerate(objects):
        key = str(one["metadata"].get("uid") or number)
        if key not in found or str(found[key].get("apiVersion")).startswith("extensions/"):
            found[key] = one
    return list(found.values())


def _is_made(document: Document, uids: set[str]) -> bool:
    """Whether its owner makes it: its controller, or another object of this namespace. (Of an owner that is gone, or
    that is no part of a namespace, only the reference is dropped.)"""
    owners = document["metadata"].get("ownerReferences") or ()
    return any(owner.get("controller") or str(owner.get("uid")) in uids for owner in owners)


def _is_derived(document: Document, selecting: set[str]) -> bool:
    name = document["metadata"]["name"]
    match _kind(document):
        case "Secret":
            return _is_automatic_token(document)
        case "ConfigMap":
            return bool(name == "kube-root-ca.crt")
        case "Service":
            return bool((name, document["metadata"].get("namespace")) == ("kubernetes", "default"))
        case "Endpoints":  # of a Service without a selector they are somebody's own
            return name in selecting
        case "EndpointSlice":
            labels = document["metadata"].get("labels") or {}
            return str(labels.get("endpointslice.kubernetes.io/managed-by", "")).endswith(".k8s.io")
        case _:
            return False


def _is_over(document: Document) -> bool:
    """A Job or pod that has ended: brought back it would run once more."""
    status = document.get("status") or {}
    if _kind(document) == "Pod":
        return status.get("phase") in {"Succeeded", "Failed"}
    conditions = status.get("conditions") or ()
    ended = any(one.get("type") in {"Complete", "Failed"} and one.get("status") == "True" for one in conditions)
    return _kind(document) == "Job" and ended


def _is_ours(document: Document) -> bool:
    labels = document["metadata"].get("labels") or {}
    return _kind(document) == "Pod" and labels.get(_MANAGED_BY) == OURS


def _is_automatic_token(secret: Document) -> bool:
    annotations = secret["metadata"].get("annotations") or {}
    account = str(annotations.get("kubernetes.io/service-account.name"))
    return secret.get("type") == _TOKEN and bool(re.fullmatch(re.escape(account) + _AUTOMATIC, _name(secret)))


# -- what is taken out -----------------------------------------------------------------------------------------------------


def _clean_kind(document: Document) -> None:
    spec = document.get("spec") if isinstance(document.get("spec"), dict) else {}
    assert isinstance(spec, dict)  # noqa: S101  for the checker
    match _kind(document):
        case "Service":
            _clean_service(spec)
        case "PersistentVolumeClaim":
            # The volume is found anew, or made: the old one may be gone, and a claim that names it waits for ever.
            spec.pop("volumeName", None)
        case "ServiceAccount":
            _clean_account(document)
        case "Secret" if document.get("type") == _TOKEN:
            document.pop("data", None)  # made anew for the account's new identity
        case "Job" if not spec.get("manualSelector"):
            _clean_job(document, spec)
        case "Pod":
            _clean_pod(spec)
        case _:
            pass
    for template in _templates(spec):
        template.get("metadata", {}).pop("creationTimestamp", None)


def _clean_service(spec: Document) -> None:
    """Addresses of the cluster are given anew; "None" is no address but a choice. A node port is kept: firewalls and
    load balancers outside know it by number. One that is taken by then is refused, and named."""
    for name in ("clusterIP", "clusterIPs"):
        if spec.get(name) not in ("None", ["None"]):
            spec.pop(name, None)


def _clean_account(document: Document) -> None:
    own = re.compile(re.escape(_name(document)) + _AUTOMATIC)
    secrets = [one for one in document.get("secrets") or () if not own.fullmatch(str(one.get("name")))]
    document["secrets"] = secrets
    if not secrets:
        del document["secrets"]


def _clean_job(document: Document, spec: Document) -> None:
    spec.pop("selector", None)
    for holder in (document["metadata"], spec.get("template", {}).get("metadata", {})):
        for label in _JOB_LABELS:
            holder.get("labels", {}).pop(label, None)
        if "labels" in holder and not holder["labels"]:
            del holder["labels"]


def _clean_pod(spec: Document) -> None:
    """The node is chosen anew, and the token of its account, which every pod is given, is mounted anew."""
    spec.pop("nodeName", None)
    mounted: set[str] = set()
    for container in (*spec.get("containers", ()), *spec.get("initContainers", ())):
        mounts = container.get("volumeMounts") or []
        mounted |= {one["name"] for one in mounts if one.get("mountPath") == _TOKEN_MOUNT}
        container["volumeMounts"] = [one for one in mounts if one.get("mountPath") != _TOKEN_MOUNT]
        if not container["volumeMounts"]:
            del container["volumeMounts"]
    spec["volumes"] = [one for one in spec.get("volumes") or () if one.get("name") not in mounted]
    if not spec["volumes"]:
        del spec["volumes"]


def _templates(node: Any) -> Iterator[Document]:
    """Pod and volume templates, at whatever depth: the server writes `creationTimestamp: null` into each."""
    if isinstance(node, list):
        for one in node:
            yield from _templates(one)
    if not isinstance(node, Mapping):
        return
    for key, value in node.items():
        if key in {"template", "jobTemplate"} and isinstance(value, dict):
            yield value
        if key == "volumeClaimTemplates":
            for claim in value:
                claim.pop("status", None)
                yield claim
        if key in {"template", "jobTemplate", "spec"}:
            yield from _templates(value)


def _selects(service: Document) -> bool:
    return bool((service.get("spec") or {}).get("selector"))


def _kind(document: Document) -> str:
    """Of Kubernetes' own kinds the name, as those of others may have the same: then with their group."""
    group, slash, _ = str(document.get("apiVersion", "")).rpartition("/")
    is_own = not slash or "." not in group or group.endswith(".k8s.io")
    return str(document.get("kind")) if is_own else f"{document.get('kind')}.{group}"


def _name(document: Document) -> str:
    return str(document["metadata"]["name"])
