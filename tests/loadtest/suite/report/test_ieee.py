"""The paper: filled in truthfully, and accepted by LaTeX where there is one."""

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from loadtest.suite.report import ieee
from loadtest.suite.report.ieee import paper
from loadtest.suite.report.plates import CEILINGS, SECONDS, SPEEDUPS
from loadtest.suite.results import Results
from loadtest.suite.summary import summarize
from runtime import estimate
from tests.loadtest.suite import runs

TWO = (runs.FOUR[0], runs.FOUR[2])
NASTY = "50%_of $x$ & #1 {a} ^~ \\par --x ,, ?` <é火🔥> µ≤×"


def nasty() -> Results:
    """Every text that a plan, a machine or an error gives, as bad for LaTeX as can be."""
    results = runs.made(cases=(replace(runs.FOUR[0], case=NASTY),))
    results = runs.half_failing(results, "matmul", "gpu", NASTY)
    results = runs.parity_failing(results, NASTY, 64)
    return replace(
        results,
        notes=(NASTY,),
        plan=NASTY,
        machine=[(NASTY, NASTY), ("revision", NASTY)],
        devices=tuple(replace(d, name=NASTY, facts=[(NASTY, NASTY)]) for d in results.devices),
        interrupted=NASTY,
    )


RUNS: dict[str, Callable[[], Results]] = {
    "with a GPU": lambda: runs.made(cases=TWO),
    "without a GPU": lambda: runs.made(gpu=None, cases=TWO[:1]),
    "simulated": lambda: runs.made(gpu="simulated", cases=TWO[:1]),
    "nasty": nasty,
    "nothing": lambda: replace(runs.made(), cells=(), colds=(), parities=(), ceilings=()),
}


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "RESAMPLES", 100)


@cache
def files(name: str) -> dict[str, bytes]:
    """The paper of a run, with its figures; drawing takes a while, so each is drawn once."""
    return paper(summarize(RUNS[name]()))


def tex(results: Results) -> str:
    """The text alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ieee, "plates", lambda summary: dict.fromkeys((SECONDS, SPEEDUPS, CEILINGS)))
        return paper(summarize(results))["paper.tex"].decode()


def test_what_only_the_author_can_say_is_marked() -> None:
    text = tex(runs.made())
    assert text.count(r"\authorwrites{") >= 10
    for section in ("Introduction", "Discussion", "Threats to Validity"):
        body = text.split(rf"\section{{{section}}}")[1].split(r"\section{")[0]
        assert r"\authorwrites{" in body, section


def test_numbers_are_filled_in() -> None:
    text = tex(runs.made())
    assert r"\documentclass[conference]{IEEEtran}" in text
    abstract = text.split(r"\begin{abstract}")[1].split(r"\end{abstract}")[0]
    assert re.search(r"2\d\d \$\\times\$ for matmul bfloat16", abstract)
    assert "0123456789ab" in text
    assert r"\cite{efron}" in text


@pytest.mark.parametrize("name", RUNS)
def test_every_reference_has_a_label_and_every_citation_a_source(name: str) -> None:
    text = files(name)["paper.tex"].decode()
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert len(set(labels)) == len(labels)
    assert set(re.findall(r"\\ref\{(.*?)\}", text)) <= set(labels)
    assert set(re.findall(r"\\cite\{(.*?)\}", text)) == set(re.findall(r"\\bibitem\{(.*?)\}", text))


@pytest.mark.parametrize("name", RUNS)
def test_every_figure_is_there_and_none_is_left_over(name: str) -> None:
    found = files(name)
    named = re.findall(r"\\includegraphics\[.*?\]\{(.*?)\}", found["paper.tex"].decode())
    assert sorted(named) == sorted(file for file in found if file.endswith(".pdf"))
    for file in named:
        assert found[file].startswith(b"%PDF")
        assert b"/Type3" not in found[file]  # IEEE takes no such fonts


def test_without_a_gpu_there_is_no_word_of_speedups() -> None:
    text = files("without a GPU")["paper.tex"].decode()
    body = text.split(r"\section{Introduction}")[1]
    assert "CPU only: no GPU here" in text
    for absent in ("tab:crossover", "tab:parity", "speedups.pdf", "wins", "bootstrap"):
        assert absent not in body


def test_a_simulation_is_the_first_thing_that_the_abstract_says() -> None:
    text = tex(runs.made(gpu="simulated"))
    abstract = text.split(r"\begin{abstract}")[1]
    assert abstract.index("The GPU is simulated") < abstract.index("We measured")
    for caption in re.findall(r"\\caption\{(.*?)\}\n", text):
        assert "GPU" not in caption or "GPU (simulated)" in caption, caption


def test_missing_speedups_are_threats() -> None:
    text = tex(runs.parity_failing(runs.made(), "matmul bfloat16", 64))
    threats = text.split(r"\section{Threats to Validity}")[1]
    assert "no speedup of matmul bfloat16 at n = 64: results differ" in threats


def test_many_rows_go_on_in_another_table() -> None:
    many = tuple(replace(runs.FOUR[0], case=f"case {number}") for number in range(10))
    text = tex(runs.made(cases=many, samples=2))
    assert r"\label{tab:times-2}" in text
    assert "(continued)" in text


def _latex_class() -> bool:
    if shutil.which("pdflatex") is None or shutil.which("kpsewhich") is None:
        return False
    return subprocess.run(["kpsewhich", "IEEEtran.cls"], capture_output=True).returncode == 0


@pytest.mark.skipif(
    not _latex_class(),
    reason="needs pdflatex and IEEEtran.cls: apt-get install texlive-publishers"
    " texlive-latex-recommended texlive-fonts-recommended",
)
@pytest.mark.parametrize("name", RUNS)
def test_latex_takes_the_paper(name: str, tmp_path: Path) -> None:
    for file, content in files(name).items():
        (tmp_path / file).write_bytes(content)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    for _ in range(2):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60)
    log = (tmp_path / "paper.log").read_text(errors="replace")
    assert done.returncode == 0, log[-3000:]
    assert "undefined" not in log
    assert "Missing character" not in log
