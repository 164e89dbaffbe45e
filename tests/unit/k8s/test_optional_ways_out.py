"""Components that let fleets out to what people are told by: just those fleets, there and nowhere else."""

from __future__ import annotations

from typing import Any

from rendered_parts import Overlays, matches, name_of, named, place_of

from g3zkp_maint.testing.rendered import Object, of_kind, pod_specs

FLEETS = {"worker-crypto", "worker-observe"}


def let_out(objects: list[Object], policy: str) -> tuple[set[str], Any]:
    """Whose pods a policy selects, and its one rule."""
    (found,) = [one for one in of_kind(objects, "NetworkPolicy") if name_of(one) == policy]
    selector = found["spec"]["podSelector"]
    selected = {
        name_of(one)
        for one, template in pod_specs(objects)
        if place_of(one) == place_of(found) and matches(selector, template["metadata"]["labels"])
    }
    (rule,) = found["spec"]["egress"]
    return selected, rule


def test_with_alertmanager_the_fleets_that_disturb_and_that_silence_are_told_of_it_and_reach_it(
    overlays: Overlays,
) -> None:
    objects = overlays["production+alertmanager"]
    selected, rule = let_out(objects, "maintenance-alertmanager")
    assert selected == FLEETS
    ((port,), (place,)) = rule["ports"], rule["to"]
    assert place["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}
    for name in FLEETS:
        _, _, container = named(objects, name)
        told = {one["name"]: one["value"] for one in container["env"]}
        url = told["G3ZKP_WINDOWS__ALERTMANAGER_URL"]
        assert url == f"http://alertmanager-operated.monitoring.svc:{port['port']}"
    without = [str(one) for one, _ in pod_specs(objects) if name_of(one) not in FLEETS]
    assert not any("ALERTMANAGER" in text for text in without)


def test_with_mail_the_fleets_that_send_notices_reach_mail_servers_which_else_nobody_does(overlays: Overlays) -> None:
    selected, rule = let_out(overlays["production+mail"], "maintenance-mail")
    assert selected == FLEETS
    assert {port["port"] for port in rule["ports"]} == {465, 587}
    opened = [one for one in of_kind(overlays["production"], "NetworkPolicy") if "587" in str(one["spec"])]
    assert opened == []
