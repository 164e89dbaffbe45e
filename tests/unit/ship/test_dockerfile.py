"""What can be known of the Dockerfile without building it: what it is made of, who runs it, and that it is what k8s/ expects."""

from __future__ import annotations

import json
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from dockerfile_parse import DockerfileParser

from g3zkp_maint import __version__
from g3zkp_maint.testing.pins import pins

ROOT = Path(__file__).parents[3]
BUILD_TOOLS = re.compile(r"\b(pip|gcc|g\+\+|make|build-essential|git|curl|wget|python3?-dev|-m build)\b")

Step = dict[str, str]


@pytest.fixture(scope="module")
def stages() -> list[list[Step]]:
    """Of each stage its instructions with their values, FROM first; what comes before the first is left out."""
    parser = DockerfileParser(str(ROOT / "Dockerfile"), cache_content=True)
    found: list[list[Step]] = []
    for step in parser.structure:
        if step["instruction"] == "FROM":
            found.append([])
        if found and step["instruction"] != "COMMENT":
            found[-1].append(step)
    return found


def values(stage: list[Step], instruction: str) -> list[str]:
    return [step["value"] for step in stage if step["instruction"] == instruction]


def test_both_stages_are_of_one_exactly_named_python(stages: list[list[Step]]) -> None:
    (base,) = re.findall(r"^ARG BASE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert re.fullmatch(r"python:3\.12\.\d+-slim-[a-z]+(@sha256:[0-9a-f]{64})?", base)
    assert [values(stage, "FROM") for stage in stages] == [["${BASE} AS builder"], ["${BASE}"]]


def test_nothing_is_built_in_the_final_stage_and_nothing_of_the_checkout_gets_there(stages: list[list[Step]]) -> None:
    final = stages[-1]
    assert not [run for run in values(final, "RUN") if BUILD_TOOLS.search(run)]
    assert values(final, "COPY") == ["--from=builder /opt/g3zkp-maint /opt/g3zkp-maint"]
    assert not values(final, "ADD")


def test_it_runs_as_the_user_of_the_manifests_and_by_number(stages: list[list[Step]]) -> None:
    confined = yaml.safe_load((ROOT / "k8s/components/common/confined.yaml").read_text())
    context = confined["spec"]["template"]["spec"]["securityContext"]
    assert values(stages[-1], "USER") == [f"{context['runAsUser']}:{context['runAsGroup']}"]
    # Celery takes a user without a name for root.
    assert any(f"useradd --uid {context['runAsUser']} " in run for run in values(stages[-1], "RUN"))
    # Whatever comes after USER is done as that user.
    assert [step["instruction"] for step in stages[-1][-3:]] == ["USER", "HEALTHCHECK", "CMD"]


def test_home_and_working_folder_are_where_a_pod_may_write(stages: list[list[Step]]) -> None:
    assert values(stages[-1], "WORKDIR") == ["/tmp"]
    assert any("HOME=/tmp" in value for value in values(stages[-1], "ENV"))


def test_commands_are_lists_so_that_signals_reach_the_program(stages: list[list[Step]]) -> None:
    (command,) = values(stages[-1], "CMD")
    assert json.loads(command)[0] == "g3zkp-maint"
    assert not values(stages[-1], "ENTRYPOINT"), "k8s/ and docker-compose.yml give whole commands"


def test_its_label_is_the_version_of_the_code(stages: list[list[Step]]) -> None:
    assert f"VERSION={__version__}" in values(stages[-1], "ARG")
    (labels,) = values(stages[-1], "LABEL")
    assert {"title", "description", "version", "revision"} <= set(
        re.findall(r"org\.opencontainers\.image\.(\w+)", labels)
    )


def test_the_builder_has_all_that_the_wheel_is_made_of_and_the_context_nothing_else(stages: list[list[Step]]) -> None:
    copied = [word for value in values(stages[0], "COPY") for word in value.split()[:-1]]
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert patterns[0] == "*"
    assert {one.removeprefix("!") for one in patterns if one.startswith("!")} == set(copied)
    assert [one for one in copied if not (ROOT / one).exists()] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    made_of = {*wheel["packages"], *wheel["force-include"], project["project"]["readme"], "pyproject.toml"}
    assert made_of <= set(copied)


def test_no_state_and_no_key_of_a_checkout_gets_into_a_build() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = [line.removeprefix("!") for line in lines if line.startswith("!")]
    for secret in ("state/keys/crypto/recovery.identity", "deploy/secrets/redis.conf", ".git/config", ".env"):
        assert not [one for one in let_in if fnmatch(secret, one) or secret.startswith(f"{one}/")]


def test_every_package_that_is_needed_is_pinned_for_the_image() -> None:
    lines = (ROOT / "deploy/constraints.txt").read_text().splitlines()
    pinned = {line.partition("==")[0] for line in lines if "==" in line and not line.startswith("#")}
    assert pins().keys() - pinned == set(), "run `make pins`"
