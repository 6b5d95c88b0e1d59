"""What a process writes to standard error, as text and as JSON."""

import json
import logging
from collections.abc import Iterator

import pytest

from runtime.logs import SAID, say, set_up_logging


@pytest.fixture(autouse=True)
def root() -> Iterator[None]:
    """The root logger goes on as other tests expect it."""
    logger = logging.getLogger()
    before = logger.level, logger.handlers[:]
    yield
    logger.setLevel(before[0])
    logger.handlers[:] = before[1]


def test_json_logs_are_one_object_a_line_with_the_traceback_inside(
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_up_logging("json", "info")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("lumbre.test").exception("it failed: %s", "x")
    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    assert (told["level"], told["message"]) == ("error", "it failed: x")
    assert "ValueError: two" in told["traceback"]


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_what_is_said_to_whoever_started_a_process_is_told_at_any_level(
    level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logging("json", level)
    say("the gateway is up on http://127.0.0.1:8080; 100 % ready")
    told = json.loads(capsys.readouterr().err)
    assert told["message"] == "the gateway is up on http://127.0.0.1:8080; 100 % ready"
    assert (told["level"], told["logger"]) == ("info", SAID)


def test_as_text_it_stands_as_it_is_and_the_log_has_its_time_and_level(
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_up_logging("text", "warning")
    say("draining")
    logging.getLogger("lumbre.test").info("not at this level")
    logging.getLogger("lumbre.test").warning("the broker is away")
    said, logged = capsys.readouterr().err.splitlines()
    assert said == "draining"
    assert logged.endswith("WARNING the broker is away")
