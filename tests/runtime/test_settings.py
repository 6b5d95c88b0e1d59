"""Settings come from flags, variables, lumbre.toml and defaults, in this order."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from runtime.cli import app
from runtime.errors import ConfigurationError
from runtime.settings import Settings, origin, read_settings


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"LUMBRE_{name.upper()}", raising=False)


def test_the_defaults_serve_a_laptop() -> None:
    settings = read_settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.ledger.endswith("/.lumbre/ledger.db")
    assert settings.blobs.startswith("file:///")


def test_a_flag_wins_over_a_variable_and_that_over_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("lumbre.toml").write_text("port = 1001\ngrace = 5\nmax_wait = 7\n")
    monkeypatch.setenv("LUMBRE_PORT", "1002")
    monkeypatch.setenv("LUMBRE_GRACE", "6")
    settings = read_settings({"port": 1003, "host": None})
    assert (settings.port, settings.grace, settings.max_wait) == (1003, 6, 7)
    flags = {"port": 1003}
    found = [origin(name, flags) for name in ("port", "grace", "max_wait", "host")]
    assert found == ["flag", "LUMBRE_GRACE", "lumbre.toml", "default"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LUMBRE_PORT", "eighty", "LUMBRE_PORT='eighty'"),
        ("LUMBRE_PORT", "70000", "LUMBRE_PORT='70000'"),
        ("LUMBRE_MAX_WAIT", "0", "LUMBRE_MAX_WAIT"),
        ("LUMBRE_LOG_FORMAT", "xml", "LUMBRE_LOG_FORMAT"),
    ],
)
def test_a_bad_value_is_named_with_its_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=said):
        read_settings()


def test_an_unknown_name_in_the_file_is_an_error_that_names_it() -> None:
    Path("lumbre.toml").write_text("prot = 8081\n")
    with pytest.raises(ConfigurationError, match="PROT"):
        read_settings()


def test_a_file_that_is_no_toml_is_an_error_in_one_line() -> None:
    Path("lumbre.toml").write_text("port = = 1\n")
    with pytest.raises(ConfigurationError, match=r"lumbre\.toml"):
        read_settings()


def test_several_function_folders_are_split_at_colons(tmp_path: Path) -> None:
    settings = read_settings({"functions": f"{tmp_path}/a:{tmp_path}/b"})
    assert settings.folders == [tmp_path / "a", tmp_path / "b"]


@pytest.mark.parametrize("name", ["broker_password", "callback_secret", "broker_pasword"])
def test_a_secret_is_no_part_of_what_is_said_about_it(name: str) -> None:
    Path("lumbre.toml").write_text(f"{name} = 7355608\n")
    with pytest.raises(ConfigurationError, match=name.upper()) as raised:
        read_settings()
    assert "7355608" not in str(raised.value)


def test_settings_that_are_shown_hide_the_brokers_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LUMBRE_BROKER_USERNAME", "lumbre")
    monkeypatch.setenv("LUMBRE_BROKER_PASSWORD", "s3cret")
    for arguments in (["settings"], ["settings", "--json"], ["worker", "--help"]):
        told = CliRunner().invoke(app, arguments)
        assert told.exit_code == 0
        assert "s3cret" not in told.output
    assert "s3cret" not in repr(read_settings())
