"""docker-compose.yml, read: confined services, closed networks, each service its own secrets alone, true settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from g3zkp_maint import settings
from g3zkp_maint.keys.fleets import KEY_FILES, RECOVERY
from g3zkp_maint.setting_names import leaves, unknown_variables
from workers.app import QUEUES

ROOT = Path(__file__).parents[3]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: one for name, one in SERVICES.items() if "g3zkp-maint" in one["image"]}
FLEETS = {f"worker-{queue}": queue for queue in QUEUES}
#: What belongs to whom: a fleet's secrets are called by the fleet.
OWNERS = {name: name.removeprefix("worker-") for name in SERVICES}
ADDRESS = "https://messenger.example.org"
SECRETS_THERE = "/etc/g3zkp-maint/secret/"
#: What a pod is told that has the messenger's volume, read-only; no service has.
OF_A_MOUNTED_VOLUME = {"G3ZKP_BACKUP__SOURCE", "G3ZKP_BACKUP__MOUNTED_ROOT", "G3ZKP_MESSENGER__APPEND_BACKUP_LOG"}


def variables(service: dict[str, Any]) -> dict[str, str]:
    """As the container sees them, with what has no default."""
    found: dict[str, str] = service.get("environment", {})
    return {name: _interpolated(value) for name, value in found.items()}


def _interpolated(value: str) -> str:
    assert isinstance(value, str), "Compose wants text: quote it"
    return re.sub(r"\$\{\w+(?::-([^}]*)|:\?[^}]*)\}", lambda found: found[1] or ADDRESS, value)


def secrets(service: dict[str, Any]) -> dict[str, str]:
    """Source by target."""
    return {one["target"]: one["source"] for one in service.get("secrets", [])}


def manifests(name: str) -> dict[str, Any]:
    """The container of k8s/ that does the same."""
    for file in (ROOT / "k8s" / "base").rglob("*.yaml"):
        for one in yaml.safe_load_all(file.read_text()):
            if one and one["kind"] == "Deployment" and one["metadata"]["name"] == name:
                (container,) = one["spec"]["template"]["spec"]["containers"]
                return dict(container)
    raise AssertionError(f"no Deployment {name} in k8s/base")


# -- confinement -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_confined_and_probed_and_named_by_version(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["user"].partition(":")[0]) > 0
    assert not service.keys() & {"privileged", "cap_add", "network_mode", "pid", "devices"}
    assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert {"cpus", "memory", "pids"} == service["deploy"]["resources"]["limits"].keys()
    # Beside `deploy` Compose refuses it: the limit is `pids` there.
    assert "pids_limit" not in service
    assert re.search(r":v?\d+\.\d+|:\$\{MAINT_VERSION:-\d+\.\d+\.\d+\}$", service["image"])


def test_a_host_with_two_processors_takes_every_limit() -> None:
    """An engine refuses a container that may have more than there are."""
    for name, service in SERVICES.items():
        assert float(_interpolated(service["deploy"]["resources"]["limits"]["cpus"])) <= 2, name


def test_the_image_is_built_once() -> None:
    """Of two services that build one tag, side by side, the second fails: the tag is there already."""
    assert [name for name, one in SERVICES.items() if "build" in one] == ["worker-backup"]
    assert len({one["image"] for one in OURS.values()}) == 1


def test_what_is_published_is_published_to_this_host_alone() -> None:
    ports = {name: one["ports"] for name, one in SERVICES.items() if "ports" in one}
    assert ports.keys() == {"flower", "exporter", "prometheus", "alertmanager"}
    assert all(port.startswith("127.0.0.1:") for published in ports.values() for port in published)


def test_links_in_alerts_lead_to_what_is_published() -> None:
    for name in ("prometheus", "alertmanager"):
        (port,) = SERVICES[name]["ports"]
        assert f"--web.external-url=http://{port.rpartition(':')[0]}" in SERVICES[name]["command"]


def test_broker_and_store_are_reached_from_inside_only_and_by_those_who_need_them() -> None:
    assert all(COMPOSE["networks"][name] == {"internal": True} for name in ("broker", "store", "monitoring"))
    of = {name: set(one["networks"]) for name, one in SERVICES.items()}
    assert of["redis"] == {"broker"}
    assert of["s3"] == {"store"}
    assert {name for name in OURS if "store" in of[name]} == {*FLEETS, "exporter"}
    assert {name for name in SERVICES if "broker" in of[name]} == {"redis", *OURS}


def test_no_service_starts_before_what_it_needs() -> None:
    for name, service in OURS.items():
        needs = {"redis", "s3"} if "store" in service["networks"] else {"redis"}
        healthy = {one: {"condition": "service_healthy"} for one in needs}
        assert service["depends_on"] == healthy, name


# -- commands ----------------------------------------------------------------------------------------------------------


def test_every_fleet_does_what_it_does_in_a_cluster() -> None:
    for name in (*FLEETS, "beat", "exporter"):
        there = manifests(name)
        assert SERVICES[name]["command"] == [*there["command"], *there.get("args", [])], name
        told = {one["name"]: one["value"].replace(SECRETS_THERE, "/run/secrets/") for one in there["env"]}
        kept = {variable: value for variable, value in told.items() if variable not in OF_A_MOUNTED_VOLUME}
        assert kept.items() <= variables(SERVICES[name]).items(), name


def test_what_flower_shows_is_kept_on_a_volume_that_its_user_may_write_to() -> None:
    flower = SERVICES["flower"]
    assert "--persistent=true" in flower["command"]
    (db,) = [one.removeprefix("--db=") for one in flower["command"] if one.startswith("--db=")]
    folder = str(Path(db).parent)
    (volume,) = [mount.partition(":")[0] for mount in flower["volumes"] if mount.partition(":")[2] == folder]
    assert volume in COMPOSE["volumes"]
    # A new volume takes over the owner of the image's folder.
    (made,) = re.findall(r"install -d -o (\d+) -g \d+ -m 0700 (.+)", (ROOT / "Dockerfile").read_text())
    assert flower["user"].startswith(f"{made[0]}:")
    assert folder in made[1].split()


def test_a_worker_has_longer_to_stop_than_its_tasks_have_and_is_asked_for_its_own_queue() -> None:
    for name, queue in FLEETS.items():
        assert SERVICES[name]["stop_grace_period"] == "90s"
        assert settings.Settings().tasks.shutdown_seconds + 20 < 90
        assert variables(SERVICES[name])["REMAP_SIGTERM"] == "SIGQUIT"
        assert SERVICES[name]["healthcheck"]["test"] == ["CMD", "g3zkp-maint", "probe", "worker", "--queue", queue]


def test_beat_runs_twice_and_the_broker_keeps_what_it_is_given() -> None:
    assert SERVICES["beat"]["deploy"]["replicas"] == 2
    command = SERVICES["redis"]["command"]
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"
    assert command[command.index("--appendonly") + 1] == "yes"


# -- settings and secrets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_a_setting_and_all_of_them_hold(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('[redis]\nurl = "redis://:secret@redis:6379/0"\n')
    found = variables(OURS[name])
    assert unknown_variables(settings.Settings, found) == []
    for variable, value in found.items():
        monkeypatch.setenv(variable, str(file) if variable == "G3ZKP_CONFIG" else value)
    loaded = settings.load()
    if "store" in OURS[name]["networks"]:
        assert (loaded.platform.kind, loaded.store.kind, loaded.backup.source) == ("kubernetes", "s3", "exec")


def test_the_fleets_that_ask_for_leave_and_keep_silences_reach_the_alertmanager_by_the_label_of_its_alerts() -> None:
    told = {
        name: {key: value for key, value in variables(one).items() if "__ALERT" in key} for name, one in OURS.items()
    }
    assert {name for name, found in told.items() if found} == {"worker-crypto", "worker-observe"}
    scraped = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())["scrape_configs"]
    labels = {one["labels"]["namespace"] for config in scraped for one in config["static_configs"]}
    for name in ("worker-crypto", "worker-observe"):
        assert told[name]["G3ZKP_WINDOWS__ALERTMANAGER_URL"] == "http://alertmanager:9093"
        assert {told[name]["G3ZKP_WINDOWS__ALERT_NAMESPACE"]} == labels
        assert set(SERVICES[name]["networks"]) & set(SERVICES["alertmanager"]["networks"])


def test_every_file_that_a_service_is_told_of_is_a_secret_of_its_own() -> None:
    for name, service in SERVICES.items():
        told = set(re.findall(r"/run/secrets/([\w.-]+)", str([service.get("environment"), service.get("command")])))
        assert told <= secrets(service).keys(), name
        for target, source in secrets(service).items():
            assert source == f"{OWNERS[name]}-{target}"
            assert COMPOSE["secrets"][source] == {"file": f"./deploy/secrets/{OWNERS[name]}/{target}"}


def test_every_secret_has_exactly_one_service_that_gets_it() -> None:
    given = [source for service in SERVICES.values() for source in secrets(service).values()]
    assert sorted(given) == sorted(COMPOSE["secrets"])


def test_each_fleet_gets_just_the_key_files_that_it_may_have() -> None:
    every = {file for files in KEY_FILES.values() for _, file in files}
    for name, queue in FLEETS.items():
        told = {one: value for one, value in variables(SERVICES[name]).items() if one.startswith("G3ZKP_KEYS__")}
        assert told == {f"G3ZKP_KEYS__{setting}": f"/run/secrets/{file}" for setting, file in KEY_FILES[queue]}
        assert secrets(SERVICES[name]).keys() & every == {file for _, file in KEY_FILES[queue]}
    assert [name for name, one in SERVICES.items() if RECOVERY in secrets(one)] == ["worker-crypto"]


def test_the_page_has_every_file_made_that_a_service_is_given() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text()
    page = page[page.index("## On one host, by Compose") :]
    by_init = {f"{fleet}/{file}" for fleet, files in KEY_FILES.items() for _, file in files}
    (made,) = re.findall(r"^    mkdir (.+)$", page, re.MULTILINE)
    folders = {Path(one).name for one in made.split()} | KEY_FILES.keys()
    for one in COMPOSE["secrets"].values():
        folder, file = Path(one["file"]).parts[-2:]
        assert folder in folders
        assert f"{folder}/{file}" in by_init or re.search(rf"[`/]{re.escape(file)}\b", page), one["file"]
    # Compose asks for it at every command; only there it outlasts the shell.
    assert "MESSENGER_URL=https://messenger.example.org > .env" in page
    assert "/.env" in (ROOT / ".gitignore").read_text().split()


def test_no_secret_stands_in_an_environment_or_a_command() -> None:
    secret = {leaf.variable for leaf in leaves(settings.Settings) if leaf.secret}
    # An address, secret where it holds a password.
    addresses = {"G3ZKP_WINDOWS__ALERTMANAGER_URL"}
    for name, service in SERVICES.items():
        told = variables(service)
        assert not (secret - addresses) & told.keys(), name
        assert not any("@" in told.get(one, "") for one in addresses), name
        assert not [word for word in service.get("command", []) if re.search(r"requirepass|password|basic_auth", word)]


def test_what_is_mounted_of_the_checkout_is_there_and_read_only() -> None:
    mounts = [one for service in SERVICES.values() for one in service.get("volumes", []) if one.startswith("./")]
    assert mounts
    for mount in mounts:
        file, _, mode = mount.split(":")
        assert mode == "ro"
        assert (ROOT / file).is_file()
    assert "/deploy/secrets/" in (ROOT / ".gitignore").read_text().split()


def test_what_the_runbook_adds_for_local_copies_gives_both_fleets_one_folder() -> None:
    page = (ROOT / "docs" / "runbook.md").read_text()
    (text,) = re.findall(r"^```yaml\n(services:\n.*?)```$", page, re.MULTILINE | re.DOTALL)
    added = yaml.safe_load(text)["services"]
    assert set(added) == {"worker-backup", "worker-crypto"} <= set(SERVICES)
    assert added["worker-backup"] == added["worker-crypto"]
    for one in added.values():
        assert unknown_variables(settings.Settings, one["environment"]) == []
        assert [mount.partition(":")[2] for mount in one["volumes"]] == [one["environment"]["G3ZKP_STAGING__PATH"]]
