from __future__ import annotations

import tomllib
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3zkp_maint import setting_names as names
from g3zkp_maint import settings_doc
from g3zkp_maint.errors import SettingsError
from g3zkp_maint.settings import Settings, load

PASSWORD = "correct-horse"
DOC = Path(__file__).parents[2] / "docs" / "settings.md"


@pytest.mark.parametrize(
    ("setting", "promised"),
    [
        ("platform.namespace", "g3zkp"),
        ("store.s3.bucket", "g3zkp-backups"),
        ("store.directory.path", Path("/backups/g3zkp")),
        ("messenger.keys_secret", "g3zkp-keys"),
        ("messenger.data_path", PurePosixPath("/data")),
        ("messenger.append_backup_log", True),
        ("platform.rollout_seconds", 300),
        ("platform.stop_seconds", 120),
        ("coordination.lease_ttl_seconds", 60),
        ("coordination.lease_renew_seconds", 20),
        ("coordination.run_keep_days", 14),
    ],
)
def test_defaults_are_those_of_the_protocols(setting: str, promised: object) -> None:
    assert names.value_at(load(), setting.split(".")) == promised


def test_default_components_are_those_of_the_backup_script() -> None:
    assert [(c.name, c.kind, c.path) for c in load().backup.components] == [
        ("ipfs", "files", "ipfs"),
        ("keys", "files", "keys"),
        ("redis", "redis", None),
        ("k8s", "kubernetes", None),
    ]


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("G3ZKP_STORE__KIND", "tape", "store.kind: Input should be 'directory' or 's3' (got 'tape')"),
        ("G3ZKP_BACKUP__COMPRESSION_LEVEL", "40", "backup.compression_level: "),
        ("G3ZKP_BACKUP__COMPRESSION_LEVEL", "40", "(got '40')"),
        ("G3ZKP_COORDINATION__LEASE_TTL_SECONDS", "-1", "coordination.lease_ttl_seconds: "),
        ("G3ZKP_COORDINATION__LEASE_RENEW_SECONDS", "50", "must be at most half of lease_ttl_seconds=60"),
        ("G3ZKP_STORE__PREFIX", "../elsewhere", "store.prefix: '../elsewhere' must be a relative path"),
        ("G3ZKP_STORE", "{not json", 'field "store"'),
        ("G3ZKP_BACKUP__COMPONENTS", '[{"name": "x", "kind": "files"}]', "component 'x': path goes with kind 'files'"),
        ("G3ZKP_BACKUP__COMPONENTS", '[{"name": "x", "kind": "files", "path": "../y"}]', "without '..'"),
        ("G3ZKP_TASKS__HARD_LIMIT_SECONDS", "1", "must hold"),
    ],
)
def test_a_wrong_value_is_named_with_its_field(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        load()
    assert said in str(caught.value)


def test_every_wrong_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("G3ZKP_STORE__KIND", "tape")
    monkeypatch.setenv("G3ZKP_LOG__LEVEL", "loud")
    with pytest.raises(SettingsError, match=r"(?s)store\.kind.*log\.level"):
        load()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("G3ZKP_REDIS__URL", f"postgres://:{PASSWORD}@host"),
        ("G3ZKP_BACKUP__REDIS_URL", PASSWORD),
        ("G3ZKP_REDIS__URLL", f"redis://:{PASSWORD}@host"),
        ("G3ZKP_REDIS_URL", f"redis://:{PASSWORD}@host"),
        ("G3ZKP_REDIS", f'{{"url": "redis://:{PASSWORD}@host"'),
        ("G3ZKP_REDIS", f'{{"url": ["redis://:{PASSWORD}@host"]}}'),
        ("G3ZKP_REDIS", f'{{"link": "redis://:{PASSWORD}@host"}}'),
    ],
)
def test_a_wrong_secret_is_refused_and_never_shown(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        load()
    assert PASSWORD not in str(caught.value)
    assert caught.value.__cause__ is None or PASSWORD not in str(caught.value.__cause__)


def test_a_right_secret_is_in_no_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("G3ZKP_REDIS__URL", f"redis://:{PASSWORD}@host:1/0")
    settings = load()
    assert settings.redis.url.get_secret_value() == f"redis://:{PASSWORD}@host:1/0"
    assert PASSWORD not in repr(settings) + str(settings) + settings.model_dump_json()


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("G3ZKP_LOG_LEVEL", "G3ZKP_LOG__LEVEL"),
        ("G3ZKP_STROE__KIND", "G3ZKP_STORE__KIND"),
        ("G3ZKP_STORE__S3_BUCKET", "G3ZKP_STORE__S3__BUCKET"),
        ("g3zkp_platform_namespace", "G3ZKP_PLATFORM__NAMESPACE"),
    ],
)
def test_a_misspelt_variable_is_refused_with_the_name_that_was_meant(variable: str, meant: str) -> None:
    (found,) = names.unknown_variables(Settings, {variable: "x"})
    assert str(found) == f"{variable}: no setting has this name; did you mean {meant}?"


def test_a_variable_like_no_setting_gets_no_suggestion() -> None:
    (found,) = names.unknown_variables(Settings, {"G3ZKP_QQQQQQ": "x"})
    assert found.suggestion is None


def test_a_misspelt_variable_stops_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("G3ZKP_LOG_LEVEL", "debug")
    with pytest.raises(SettingsError, match="did you mean G3ZKP_LOG__LEVEL"):
        load()


@pytest.mark.parametrize(
    "variable",
    [
        "G3ZKP_MESSENGER_SERVICE_HOST",
        "G3ZKP_MESSENGER_SERVICE_PORT",
        "G3ZKP_MESSENGER_SERVICE_PORT_HTTP",
        "G3ZKP_MESSENGER_PORT",
        "G3ZKP_MESSENGER_PORT_3000_TCP",
        "G3ZKP_MESSENGER_PORT_3000_TCP_ADDR",
        "G3ZKP_CONFIG",
        "G3ZKP_DATA",
        "G3ZKP_STACK_ROOT",
        "G3ZKP_STORE",
        "PATH",
    ],
)
def test_what_kubernetes_and_the_messenger_set_is_no_mistake(variable: str) -> None:
    assert names.unknown_variables(Settings, {variable: "x"}) == []


@given(st.sampled_from([leaf.variable for leaf in names.leaves(Settings)]))
def test_no_setting_is_taken_for_a_misspelling(variable: str) -> None:
    assert names.unknown_variables(Settings, {variable: "x"}) == []


# -- the file ----------------------------------------------------------------------------------------------------------


def test_a_variable_wins_over_the_file_and_the_file_over_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _use(monkeypatch, tmp_path, '[store]\nkind = "s3"\n[store.s3]\nbucket = "of-the-file"\n')
    monkeypatch.setenv("G3ZKP_STORE__KIND", "directory")
    settings = load()
    assert (settings.store.kind, settings.store.s3.bucket) == ("directory", "of-the-file")
    assert settings.store.directory.path == Path("/backups/g3zkp")


def test_wrong_syntax_in_the_file_is_named_with_its_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _use(monkeypatch, tmp_path, '[store]\nkind = "s3"\nprefix = nonsense\n')
    with pytest.raises(SettingsError, match=r"config\.toml is not valid TOML: .*line 3"):
        load()


def test_an_unknown_key_in_the_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _use(monkeypatch, tmp_path, '[store]\nkindd = "s3"\n')
    with pytest.raises(SettingsError, match=r"store\.kindd: Extra inputs are not permitted"):
        load()


def test_a_file_that_is_not_utf8_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b'[store]\nprefix = "\xff"\n')
    monkeypatch.setenv("G3ZKP_CONFIG", str(tmp_path / "config.toml"))
    with pytest.raises(SettingsError, match="is not UTF-8"):
        load()


def test_a_file_that_is_missing_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("G3ZKP_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(SettingsError, match=r"none\.toml cannot be read"):
        load()


def _use(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    (folder / "config.toml").write_text(text)
    monkeypatch.setenv("G3ZKP_CONFIG", str(folder / "config.toml"))


# -- where a value comes from ------------------------------------------------------------------------------------------


def test_the_origin_of_a_value_is_the_variable_the_file_or_the_default() -> None:
    by_name = {leaf.name: leaf for leaf in names.leaves(Settings)}
    environ = {"G3ZKP_STORE__KIND": "s3", "G3ZKP_LOG": '{"level": "debug"}'}
    file = {"store": {"kind": "directory", "s3": {"bucket": "b"}}}

    def origin(name: str) -> str:
        return names.origin(by_name[name], environ, file)

    assert origin("store.kind") == "G3ZKP_STORE__KIND"
    assert origin("store.s3.bucket") == "file"
    assert origin("store.prefix") == "default"
    assert origin("log.level") == "G3ZKP_LOG"
    assert origin("log.json_lines") == "default"


# -- the page ----------------------------------------------------------------------------------------------------------


def test_the_page_of_the_settings_is_current() -> None:
    assert DOC.read_text() == settings_doc.render(), "run `make docs`"


def test_every_setting_is_described() -> None:
    assert [leaf.name for leaf in names.leaves(Settings) if not leaf.field.description] == []


def test_the_example_file_gives_the_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    example = settings_doc.render().split("```toml\n")[1].split("```")[0]
    assert tomllib.loads(example)["store"]["kind"] == "directory"
    _use(monkeypatch, tmp_path, example)
    with_file = load()
    monkeypatch.delenv("G3ZKP_CONFIG")
    assert with_file == load()
