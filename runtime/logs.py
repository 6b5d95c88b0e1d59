"""What a process writes to standard error: its log, as text or as JSON objects."""

import logging
import sys
from typing import Any, Literal

import orjson

SAID = "lumbre.process"  # the logger of what whoever started the process is told


def say(line: str) -> None:
    """Tell whoever started the process, in the form of its log."""
    logging.getLogger(SAID).info("%s", line)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()


class TextFormatter(logging.Formatter):
    """A line a record: its time, level and message; what `say` tells stands as it is."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        return record.getMessage() if record.name == SAID else super().format(record)


def set_up_logging(style: Literal["text", "json"], level: str) -> None:
    """Send this process's log to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger(SAID).setLevel(logging.INFO)  # whatever the level of the rest
    for chatty in ("uvicorn.error", "httpx"):  # the latter tells every request of ours
        logging.getLogger(chatty).setLevel(logging.WARNING)
