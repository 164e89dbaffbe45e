"""How far a step goes, which is the newest, and which window it needs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3zkp_maint.dependencies import lock
from g3zkp_maint.dependencies.image import Image, used
from g3zkp_maint.dependencies.plan import plan, step
from g3zkp_maint.dependencies.telling import notice
from g3zkp_maint.dependencies.version import Change, Version, change, newest, newest_tag
from g3zkp_maint.errors import BadInput
from g3zkp_maint.lack import Lack
from g3zkp_maint.windows.kind import Kind

AT = datetime(2026, 3, 1, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("current", "newer", "expected"),
    [
        ("1.2.3", "1.2.4", Change.PATCH),
        ("1.2.3", "1.3.0", Change.MINOR),
        ("1.2.3", "2.0.0", Change.MAJOR),
        ("0.2.3", "0.2.9", Change.PATCH),
        ("0.2.3", "0.3.0", Change.MAJOR),
        ("0.0.3", "0.0.4", Change.MAJOR),
        ("18", "20", Change.MAJOR),
        ("v7.2", "7.4", Change.MINOR),
        ("2025.1", "2026.1", Change.MAJOR),
        ("1.2.3.1", "1.2.3.2", Change.PATCH),
    ],
)
def test_how_far_a_step_goes(current: str, newer: str, expected: Change) -> None:
    assert step("npm", "x", current, newer).change is expected


def test_prereleases_are_nobodys_newest_and_numbers_are_compared_as_numbers() -> None:
    assert newest("1.9.0", ["1.10.0", "2.0.0-beta.1", "2.0.0rc1", "1.8.9", "not a version"]) == "1.10.0"
    assert newest("1.10.0", ["1.9.0", "1.10"]) is None
    assert newest("1.0.0rc1", []) is None
    assert newest("nightly", ["1.0"]) is None


@pytest.mark.parametrize(
    ("current", "offered", "expected"),
    [
        ("18-alpine", ["18-alpine", "20-alpine", "22", "22.1-alpine", "22.1.0-alpine", "latest"], "20-alpine"),
        ("7.2.4", ["7.2.5", "7.4.1", "8", "8.0.0-rc1"], "7.4.1"),
        ("7-alpine3.20", ["8-alpine3.21"], None),
        ("latest", ["1", "2"], None),
        ("22.04", ["24.04", "24.04.1"], "24.04"),
        ("v1.2", ["v1.10", "1.11"], "v1.10"),
        ("3", ["20260101", "4"], "4"),
        ("20250101", ["20260101"], "20260101"),
    ],
)
def test_a_tag_is_followed_by_tags_of_its_own_kind(current: str, offered: list[str], expected: str | None) -> None:
    assert newest_tag(current, offered) == expected


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99)), min_size=1))
def test_the_newest_is_newer_than_all_others_and_never_older_than_what_is(numbers: list[tuple[int, ...]]) -> None:
    texts = [".".join(map(str, one)) for one in numbers]
    found = newest(texts[0], texts)
    assert (tuple(map(int, found.split("."))) if found else numbers[0]) == max(numbers)


@given(st.from_regex(r"v?\d{1,9}(\.\d{1,9}){0,3}([-+.a-z].{0,9})?", fullmatch=True))
def test_what_is_read_of_a_version_can_be_compared_with_itself(text: str) -> None:
    version = Version.parse(text)
    assert version is None or change(version, version) is not None


@pytest.mark.parametrize(
    ("reference", "image"),
    [
        ("redis", Image("", "library/redis", "latest")),
        ("docker.io/library/redis:7", Image("", "library/redis", "7")),
        ("redis:7-alpine", Image("", "library/redis", "7-alpine")),
        ("g3zkp/messenger:1.0", Image("", "g3zkp/messenger", "1.0")),
        ("registry.example:5000/a/b:1@sha256:ab", Image("registry.example:5000", "a/b", "1", "sha256:ab")),
        ("localhost/a@sha256:ab", Image("localhost", "a", "", "sha256:ab")),
    ],
)
def test_references_of_images_are_read_as_container_runtimes_do(reference: str, image: Image) -> None:
    assert Image.parse(reference) == image


def test_an_image_is_listed_once_with_all_who_use_it_and_what_runs() -> None:
    pod = {
        "spec": {"containers": [{"name": "c", "image": "redis:7"}]},
        "status": {"containerStatuses": [{"name": "c", "imageID": "registry.example/redis@sha256:aa"}]},
    }
    loaded = {**pod, "status": {"containerStatuses": [{"name": "c", "imageID": "sha256:config"}]}}
    found = used([("StatefulSet/g3zkp/redis", "redis:7"), ("Deployment/g3zkp/x", "redis:7")], [pod, loaded])
    assert [(one.users, one.running) for one in found] == [
        (("Deployment/g3zkp/x", "StatefulSet/g3zkp/redis"), frozenset({"sha256:aa"}))
    ]


def test_a_plan_has_the_large_steps_first_and_the_windows_that_they_need() -> None:
    steps = [step("npm", "a", "1.0.0", "1.0.1"), step("npm", "b", "1.0.0", "2.0.0"), step("python", "c", "1.0", "1.1")]
    starts = {Kind.MINOR: AT, Kind.MAJOR: AT, Kind.INFRASTRUCTURE: AT}
    found = plan(steps, [Lack("images", "no cluster")], {"npm": 2}, starts, at=AT)
    assert [(one.name, str(one.window)) for one in found.steps] == [("b", "major"), ("c", "minor"), ("a", "security")]
    assert set(found.windows) == {Kind.MINOR, Kind.MAJOR}
    told = notice(found, slot="s")
    assert told.title == "Newer versions: 1 major, 1 minor, 1 patch"
    assert "npm b: 1.0.0 -> 2.0.0 (major: major window)" in told.body
    assert "not asked: images: no cluster" in told.body
    assert told.body.endswith("Nothing was changed.")


def test_a_lock_file_tells_what_the_messenger_names_itself(tmp_path: Path) -> None:
    packages = {
        "": {"dependencies": {"express": "^4.0.0", "own": "1"}, "devDependencies": {"jest": "^29.0.0"}},
        "node_modules/express": {"version": "4.18.2"},
        "node_modules/debug": {"version": "2.6.9"},
        "node_modules/own": {"resolved": "packages/own", "link": True},
    }
    file = tmp_path / "package-lock.json"
    file.write_text(json.dumps({"lockfileVersion": 3, "packages": packages}))
    assert lock.direct(file) == {"express": "4.18.2"}


@pytest.mark.parametrize("text", ["{}", "[]", "no json", '{"packages": {"": {"dependencies": {"x": "1"}}}}'])
def test_what_is_no_lock_file_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "package-lock.json"
    file.write_text(text)
    with pytest.raises(BadInput, match="no lock file"):
        lock.direct(file)
    with pytest.raises(BadInput, match="cannot be read"):
        lock.direct(tmp_path / "gone")
