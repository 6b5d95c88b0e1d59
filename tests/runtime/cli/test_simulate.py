"""`lumbre simulate` in this process: what it prints, draws, recommends and refuses."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from runtime.cli import app

BURST = ("--arrivals", "burst:5:10:120", "--run", "0.2", "--seconds", "600", "max=4")


def simulate(*arguments: str, code: int = 0, given: bytes = b"") -> Any:
    done = CliRunner().invoke(app, ("simulate", *arguments), prog_name="lumbre", input=given)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")


def record(at: float, run: float = 1.0, **changes: Any) -> dict[str, Any]:
    return {
        "function": "matmul",
        "device": "cpu",
        "status": "succeeded",
        "created_at": f"2026-11-23T12:00:{at:09.6f}Z",
        "timings": {"queue": 0.25, "start": 0.5, "run": run},
        "cold": True,
        **changes,
    }


def written(*items: dict[str, Any], name: str = "trace.json") -> str:
    Path(name).write_text(json.dumps({"items": items, "next": None}))
    return name


def test_made_up_arrivals_are_told_with_what_is_assumed() -> None:
    out = simulate(*BURST, "--start", "2", "--price", "3").stdout
    assert "local engine, target=4 cooldown=60 min=0 max=4" in out
    assert re.search(r"arrival to end +\S+ \w+ ", out) and "cost at 3/h" in out
    assert "backlog" in out and "█" in out
    assert "not in it: retries" in out


def test_a_trace_is_played_beside_what_was_recorded() -> None:
    view = json.loads(simulate(written(record(0), record(1), record(2.5, 3)), "--json").stdout)
    assert view["recorded"]["invocations"] == view["simulated"]["invocations"] == 3
    assert view["recorded"]["total"]["max"] == pytest.approx(3.75)
    assert view["simulated"]["waited"]["max"] == 0.5  # of the start that cold ones waited for
    assert "as recorded of cold ones" in " ".join(view["assumed"])
    assert "recorded" in simulate("trace.json").stdout


def test_a_trace_may_come_from_a_pipe() -> None:
    lines = "\n".join(json.dumps(record(at)) for at in (0, 5)).encode()
    Path("lines.ndjson").write_bytes(lines)
    assert json.loads(simulate("lines.ndjson", "--json").stdout)["recorded"]["invocations"] == 2


def test_a_sweep_recommends_one_and_says_why() -> None:
    found = simulate(*BURST, "--start", "5", "--sweep", "min=0,1", "cooldown=5,60")
    assert re.search(r"recommended: min=[01] cooldown=\d+", found.stdout)
    assert "twice the p95 counts as much as twice the cost" in found.stdout
    rare = ("--arrivals", "burst:5:10:1200", "--run", "0.2", "--seconds", "6000", "max=4")
    asked = simulate(*rare, "--start", "5", "--sweep", "min=0,1", "--p95", "4", "--json")
    view = json.loads(asked.stdout)
    assert view["recommended"]["knobs"] == {"min_replicas": 1}
    assert [each["front"] for each in view["candidates"]] == [True, True]
    assert "cheapest with a p95 of at most 4 s" in view["why"]


@pytest.mark.parametrize(("file", "begins"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml")])
def test_a_picture_is_drawn(file: str, begins: bytes) -> None:
    simulate(*BURST, "--plot", file)
    assert Path(file).read_bytes().startswith(begins)
    simulate(*BURST, "--sweep", "min=0,1", "--plot", file)
    assert Path(file).read_bytes().startswith(begins)


def test_engines_differ_as_they_should() -> None:
    p95 = {}
    for engine in ("local", "push", "cluster"):
        view = simulate(*BURST, "--engine", engine, "--start", "1", "--json", "polling=30").stdout
        p95[engine] = json.loads(view)["simulated"]["total"]["p95"]
    assert p95["local"] < p95["push"] < p95["cluster"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("target=2",), 2, "give one TRACE, or --arrivals"),
        (("a.json", "b.json"), 2, "give one TRACE"),
        (("--arrivals", "poisson:1"), 2, "need --run"),
        (("--arrivals", "poisson:0", "--run", "1"), 1, "has no arrivals"),
        (("--arrivals", "often", "--run", "1"), 1, "write poisson:RATE"),
        (("--arrivals", "poisson:1", "--run", "long"), 1, "--run 'long' is no duration"),
        (("--arrivals", "poisson:1", "--run", "lognormal:1"), 1, "lognormal:MEAN:DEVIATION"),
        ((*BURST, "speed=2"), 1, "'speed=2' names no knob"),
        ((*BURST, "target=none"), 1, "write target=2"),
        ((*BURST, "target=0"), 1, "target=0: give a number above 0"),
        ((*BURST, "min=1.5"), 1, "min=1.5: give a whole number"),
        ((*BURST, "min=5"), 1, "min=5 is above max=4"),
        ((*BURST, "target=1,2"), 2, "say --sweep"),
        ((*BURST[:-1], "--sweep"), 2, "--sweep needs knobs"),
        ((*BURST, "--engine", "cloud"), 2, "is none of local, cluster, push"),
        ((*BURST, "--plot", "a.txt"), 1, "ends with .png or .svg"),
        (("nothing.json",), 1, "cannot be read"),
        (("empty.json",), 1, "has no invocations"),
        (("two.json",), 1, "say which with --function and --device"),
        (("queued.json",), 1, "none of 1 invocations of matmul on cpu ran to an end"),
        (("broken.json",), 1, "is no JSON"),
    ],
)
def test_what_cannot_be_played_is_refused_with_what_to_do(
    arguments: tuple[str, ...], code: int, said: str
) -> None:
    written(name="empty.json")
    written(record(0), record(1, device="gpu"), name="two.json")
    written(record(0, status="queued"), name="queued.json")
    Path("broken.json").write_text("{]")
    told = " ".join(simulate(*arguments, code=code).stderr.replace("│", " ").split())
    assert said in told


def test_one_of_several_functions_is_chosen() -> None:
    name = written(record(0), record(1, device="gpu"), record(2, device="gpu"))
    view = json.loads(simulate(name, "--device", "gpu", "--json").stdout)
    assert view["recorded"]["invocations"] == 2
