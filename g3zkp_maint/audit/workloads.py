"""How pods are confined: root, privileges, capabilities, the host, the root filesystem, limits, images, tokens."""

from __future__ import annotations

from collections.abc import Iterator

from g3zkp_maint.audit.check import Check, Found, Rule
from g3zkp_maint.audit.declared import Container, containers, workloads
from g3zkp_maint.audit.facts import Facts
from g3zkp_maint.audit.finding import Severity

_NEEDS = ("objects",)
_CONTAINERS = "Each container of each workload in the messenger's namespace and that of the fleets"
_HOST = ("hostNetwork", "hostPID", "hostIPC")
#: With one of these a container can take over its node.
_MIGHTY = frozenset(
    {"ALL", "SYS_ADMIN", "SYS_PTRACE", "SYS_MODULE", "SYS_RAWIO", "DAC_READ_SEARCH", "BPF", "NET_ADMIN"}
)
#: A port below 1024: harmless, and the one that hardened profiles allow.
_HARMLESS = frozenset({"NET_BIND_SERVICE"})


def _root(facts: Facts) -> Iterator[Found]:
    for one in containers(facts.objects):
        user, is_refused = one.effective("runAsUser"), one.effective("runAsNonRoot") is True
        if user == 0:
            yield Found(str(one), "runs as user 0")
        elif user is None and not is_refused:
            yield Found(str(one), "neither runAsUser nor runAsNonRoot is set: it is root where its image is")


def _privileged(facts: Facts) -> Iterator[Found]:
    for one in containers(facts.objects):
        if one.security.get("privileged"):
            yield Found(str(one), "securityContext.privileged is true")


def _escalation(facts: Facts) -> Iterator[Found]:
    for one in containers(facts.objects):
        if one.security.get("allowPrivilegeEscalation") is not False:
            yield Found(str(one), "securityContext.allowPrivilegeEscalation is not false")


def _added(facts: Facts) -> Iterator[Found]:
    for one in containers(facts.objects):
        added = _capabilities(one, "add") - _HARMLESS
        if added:
            worst = Severity.CRITICAL if added & _MIGHTY else None
            yield Found(str(one), f"adds {', '.join(sorted(added))}", worst)


def _kept(facts: Facts) -> Iterator[Found]:
    for one in containers(facts.objects):
        if "ALL" not in _capabilities(one, "drop"):
            yield Found(str(one), "securityContext.capabilities.drop has no ALL")


def _host(facts: Facts) -> Iterator[Found]:
    for one in workloads(facts.objects):
        shared = [name for name in _HOST if one.spec.get(name)]
        if shared:
            yield Found(str(one), f"{', '.join(shared)} is true")


def _host_path(facts: Facts) -> Iterator[Found]:
    for one in workloads(facts.objects):
        for volume in one.spec.get("volumes") or ():
            if "hostPath" in volume:
                yield Found(f"{one}/{volume['name']}", f"mounts {volume['hostPath'].get('path')} of its node")


def _writable(facts: Facts) -> Iterator[Found]:
    for one in containers(facts.objects):
        if one.security.get("readOnlyRootFilesystem") is not True:
            yield Found(str(one), "securityContext.readOnlyRootFilesystem is not true")


def _seccomp(facts: Facts) -> Iterator[Found]:
    for one in containers(facts.objects):
        kind = (one.effective("seccompProfile") or {}).get("type")
        if kind not in ("RuntimeDefault", "Localhost"):
            yield Found(str(one), f"seccompProfile.type is {kind or 'not set'}")


def _limits(facts: Facts) -> Iterator[Found]:
    for one in containers(facts.objects):
        limits = (one.spec.get("resources") or {}).get("limits") or {}
        missing = [name for name in ("cpu", "memory") if name not in limits]
        if missing:
            yield Found(str(one), f"has no limit of {' and '.join(missing)}")


def _latest(facts: Facts) -> Iterator[Found]:
    for one in containers(facts.objects):
        tag, has_digest = _tag(str(one.spec.get("image", "")))
        if not has_digest and tag in ("", "latest"):
            yield Found(str(one), f"image {one.spec.get('image')} has {'the tag latest' if tag else 'no tag'}")


def _digest(facts: Facts) -> Iterator[Found]:
    for one in containers(facts.objects):
        if not _tag(str(one.spec.get("image", "")))[1]:
            yield Found(str(one), f"image {one.spec.get('image')} is named without a digest")


def _token(facts: Facts) -> Iterator[Found]:
    by_account = {
        (one["metadata"]["namespace"], one["metadata"]["name"]): one.get("automountServiceAccountToken")
        for one in facts.objects or ()
        if one["kind"] == "ServiceAccount"
    }
    for one in workloads(facts.objects):
        own = one.spec.get("automountServiceAccountToken")
        if own is None and by_account.get((one.namespace, one.account)) is not False:
            yield Found(
                str(one), f"the token of ServiceAccount {one.account} is mounted, and nothing says that it shall be"
            )
        elif own is True and one.account == "default":
            yield Found(str(one), "asks for the token of ServiceAccount default, which is that of all others as well")


def _capabilities(container: Container, what: str) -> set[str]:
    names = (container.security.get("capabilities") or {}).get(what) or ()
    return {str(one).upper().removeprefix("CAP_") for one in names}


def _tag(image: str) -> tuple[str, bool]:
    """The tag, "" for none, and whether there is a digest. A registry may have a port."""
    name, _, digest = image.partition("@")
    return name.rpartition("/")[2].partition(":")[2], bool(digest)


CHECKS: tuple[Check[Facts], ...] = (
    Check(
        Rule(
            "workload-privileged",
            "A container is privileged",
            Severity.CRITICAL,
            f"{_CONTAINERS}: privileged.",
            "It has all devices and capabilities of its node: whoever breaks into it has the node.",
            "Remove securityContext.privileged; give the one capability or device that is needed.",
        ),
        _privileged,
        _NEEDS,
    ),
    Check(
        Rule(
            "workload-root",
            "A container may run as root",
            Severity.HIGH,
            f"{_CONTAINERS}: runAsUser and runAsNonRoot, its own or its pod's.",
            "A hole in the runtime then gives root on the node, and root reads every file of every volume.",
            "Set runAsNonRoot: true and a runAsUser other than 0.",
        ),
        _root,
        _NEEDS,
    ),
    Check(
        Rule(
            "workload-escalation",
            "A container may gain privileges",
            Severity.MEDIUM,
            f"{_CONTAINERS}: allowPrivilegeEscalation.",
            "A setuid program in the image makes it root.",
            "Set securityContext.allowPrivilegeEscalation: false.",
        ),
        _escalation,
        _NEEDS,
    ),
    Check(
        Rule(
            "workload-capabilities-added",
            "A container has more capabilities than the runtime gives",
            Severity.HIGH,
            f"{_CONTAINERS}: capabilities.add, NET_BIND_SERVICE left aside. Critical for one that leads to the node.",
            "Each one is a part of what root may do.",
            "Remove the capability, or say in a waiver what it is for.",
        ),
        _added,
        _NEEDS,
    ),
    Check(
        Rule(
            "workload-capabilities-kept",
            "A container keeps the runtime's capabilities",
            Severity.LOW,
            f"{_CONTAINERS}: capabilities.drop.",
            "It needs none of them; they are there for whoever breaks in.",
            "Set securityContext.capabilities.drop: [ALL].",
        ),
        _kept,
        _NEEDS,
    ),
    Check(
        Rule(
            "workload-host-namespaces",
            "Pods share the network, processes or memory of their node",
            Severity.CRITICAL,
            "Each workload of both namespaces: hostNetwork, hostPID, hostIPC.",
            "They see the node's traffic or processes, and no NetworkPolicy holds for the host's network.",
            "Remove hostNetwork, hostPID and hostIPC.",
        ),
        _host,
        _NEEDS,
    ),
    Check(
        Rule(
            "workload-host-path",
            "Pods mount a folder of their node",
            Severity.HIGH,
            "Each workload of both namespaces: volumes of type hostPath.",
            "The node's files are then the container's, and what it writes stays there.",
            "Use a PersistentVolumeClaim or an emptyDir.",
        ),
        _host_path,
        _NEEDS,
    ),
    Check(
        Rule(
            "workload-writable-root",
            "A container can write to its own image",
            Severity.MEDIUM,
            f"{_CONTAINERS}: readOnlyRootFilesystem.",
            "Whoever breaks in can change the program, or bring one along.",
            "Set securityContext.readOnlyRootFilesystem: true, and mount an emptyDir where it must write.",
        ),
        _writable,
        _NEEDS,
    ),
    Check(
        Rule(
            "workload-seccomp",
            "A container has no seccomp profile",
            Severity.MEDIUM,
            f"{_CONTAINERS}: seccompProfile, its own or its pod's.",
            "All of the kernel's calls are open to it.",
            "Set seccompProfile.type: RuntimeDefault for the pod.",
        ),
        _seccomp,
        _NEEDS,
    ),
    Check(
        Rule(
            "workload-limits",
            "A container has no limits",
            Severity.MEDIUM,
            f"{_CONTAINERS}: limits of cpu and memory.",
            "It can take the node's, and others fall with it.",
            "Set resources.limits.cpu and resources.limits.memory.",
        ),
        _limits,
        _NEEDS,
    ),
    Check(
        Rule(
            "image-latest",
            "An image has no version",
            Severity.MEDIUM,
            f"{_CONTAINERS}: the image's tag.",
            "What runs after the next start is whatever is newest then.",
            "Name the image by a version, better by its digest.",
        ),
        _latest,
        _NEEDS,
    ),
    Check(
        Rule(
            "image-digest",
            "An image is not named by its digest",
            Severity.LOW,
            f"{_CONTAINERS}: the image's digest.",
            "A tag can be moved to another image by whoever may write to the registry.",
            "Name the image as NAME@sha256:… of what was tested.",
        ),
        _digest,
        _NEEDS,
    ),
    Check(
        Rule(
            "workload-token",
            "Pods have a token of the API server that nobody asked for",
            Severity.MEDIUM,
            "Each workload of both namespaces, and its ServiceAccount: automountServiceAccountToken. One that says true, "
            "with an account of its own, was asked for.",
            "Whoever breaks in speaks to the API server as that account.",
            "Set automountServiceAccountToken: false; true, and an account of its own, where it asks the API server.",
        ),
        _token,
        _NEEDS,
    ),
)
