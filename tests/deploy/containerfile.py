"""A Containerfile, taken apart: its instructions, by stage."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its word, its flags (`--from=x`), and what follows."""

    word: str
    flags: dict[str, str]
    text: str

    @property
    def words(self) -> list[str]:
        """The text as the list that its exec form is; ValueError where it is in shell form."""
        found = json.loads(self.text)
        if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
            raise ValueError(f"{self.word} {self.text} is in shell form")
        return found


@dataclass(slots=True)
class Stage:
    """A stage: what it is made from, and what is done there."""

    name: str
    base: str  # an image, or another stage
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, word: str) -> list[Instruction]:
        return [each for each in self.instructions if each.word == word]


@dataclass(slots=True)
class Containerfile:
    """All of it; `arguments` are the ARGs before the first stage, with their defaults."""

    arguments: dict[str, str]
    stages: dict[str, Stage]

    @classmethod
    def read(cls, path: Path) -> "Containerfile":
        found = cls({}, {})
        stage: Stage | None = None
        for each in _instructions(path.read_text()):
            if each.word == "FROM":
                base, _, name = re.split(r"\s+(as)\s+", each.text, maxsplit=1, flags=re.IGNORECASE)
                stage = found.stages[name] = Stage(name, found.filled(base))
            elif stage is None:
                assert each.word == "ARG", f"{each.word} before the first FROM"
                name, _, default = each.text.partition("=")
                found.arguments[name] = default
            else:
                stage.instructions.append(each)
        return found

    def filled(self, text: str) -> str:
        """The text with the defaults of the ARGs before the first stage."""
        return re.sub(r"\$\{(\w+)\}", lambda m: self.arguments[m[1]], text)

    def lineage(self, name: str) -> list[Stage]:
        """A stage, and those it is made from, the first of them first."""
        stage = self.stages[name]
        above = self.lineage(stage.base) if stage.base in self.stages else []
        return [*above, stage]

    def what_runs(self, name: str) -> list[Instruction]:
        """All instructions whose results are in the image of that target, but for copies."""
        return [each for stage in self.lineage(name) for each in stage.instructions]


def _instructions(text: str) -> list[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    return [_instruction(line) for line in joined.splitlines()]


def _instruction(line: str) -> Instruction:
    word, _, rest = line.strip().partition(" ")
    flags = {}
    while match := re.match(r"\s*--([\w-]+)=(\S+)\s+", rest):
        flags[match[1]] = match[2]
        rest = rest[match.end() :]
    return Instruction(word.upper(), flags, re.sub(r"\s+", " ", rest.strip()))
