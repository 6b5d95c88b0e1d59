"""Without the servers' programs, `make servers` is told what to install, and CI does not pass."""

from pathlib import Path

import pytest

from loadtest.servers import Missing, PostgresServer, postgres, rabbit
from loadtest.servers.__main__ import missing
from tests.conftest import running


def absent(_: Path) -> PostgresServer:
    raise Missing("PostgreSQL", "postgresql")


def test_every_package_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(rabbit, "PLACES", ())
    monkeypatch.setattr(postgres, "PLACES", tmp_path)
    assert missing() == ["rabbitmq-server", "postgresql", "openssl"]


def test_a_test_that_needs_a_missing_server_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="apt-get install postgresql"), running(absent):
        pass


def test_a_test_that_needs_a_missing_server_is_skipped_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install postgresql"), running(absent):
        pass
