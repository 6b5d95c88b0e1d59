"""What a look at one part of a deployment found."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How something is."""

    OK = "ok"
    WARNING = "warning"  # it works, and may not as somebody expects
    PROBLEM = "problem"  # something will not work


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a checkup; nothing in it is secret."""

    subject: str  # broker, ledger …
    state: State
    text: str  # what is there, or what is wrong
    advice: str = ""  # what to do, where the text does not say it


def ok(subject: str, text: str) -> Finding:
    return Finding(subject, State.OK, text)


def warning(subject: str, text: str, advice: str = "") -> Finding:
    return Finding(subject, State.WARNING, text, advice)


def problem(subject: str, text: str, advice: str = "") -> Finding:
    return Finding(subject, State.PROBLEM, text, advice)
