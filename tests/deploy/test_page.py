"""The deployment page's part about clusters: its commands can be said, its values are values."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from deploy.bundle import bundle
from deploy.values import read_values
from runtime.cli import app
from tests.deploy.variants import AUTHORITY
from tests.specs import shipped
from tests.support import ROOT, Page

PAGE = Page("deployment.md")


def commands(program: str) -> list[str]:
    """The lines that call a program, in the page's blocks for no language."""
    lines = [line for _, text in PAGE.blocks("") for line in text.splitlines()]
    return [line for line in lines if line.startswith(f"{program} ")]


@pytest.mark.parametrize("command", commands("lumbre"))
def test_every_command_of_lumbre_can_be_said(command: str) -> None:
    # Options are read before the help is asked for: one that there is none of is refused.
    said = CliRunner().invoke(app, [*shlex.split(command)[1:], "--help"])
    assert said.exit_code == 0, said.output


def test_the_page_names_scripts_that_are_there() -> None:
    named = set(re.findall(r"deploy/scripts/\w+\.sh", PAGE.text))
    assert named and all((ROOT / script).is_file() for script in named)


def test_the_values_of_its_cluster_render_the_shipped_functions(tmp_path: Path) -> None:
    (_, text), _ = PAGE.blocks("yaml")
    file = tmp_path / "cluster.yaml"
    file.write_text(text)
    values = read_values("production", [str(file)])
    assert values.gpus.count == 8 and values.gateway.route.kind == "ingress"
    names = {each["metadata"]["name"] for each in bundle(shipped(), values)["functions"]}
    assert {"matmul-cpu", "matmul-gpu"} <= names


def test_its_broker_elsewhere_is_one_once_it_has_an_authority(tmp_path: Path) -> None:
    _, (_, text) = PAGE.blocks("yaml")
    given = yaml.safe_load(text)
    assert given["broker"]["ca"].startswith("-----BEGIN CERTIFICATE-----\n(the text")
    given["broker"]["ca"] = AUTHORITY
    ours, theirs = tmp_path / "cluster.yaml", tmp_path / "broker.yaml"
    (_, cluster), _ = PAGE.blocks("yaml")
    ours.write_text(cluster)
    theirs.write_text(yaml.safe_dump(given))
    made = bundle(shipped(), read_values("production", [str(ours), str(theirs)]))
    assert not any(each["kind"] == "RabbitmqCluster" for each in made["stores"])


def test_the_cpu_side_alone_is_what_the_page_deploys_on_kind() -> None:
    (apply,) = [each for each in commands("lumbre deploy apply") if "--overlay dev" in each]
    assert "devices=[cpu]" in shlex.split(apply)
    values = read_values("dev", overrides={"devices": ["cpu"]})
    names = {each["metadata"]["name"] for each in bundle(shipped(), values)["functions"]}
    assert "matmul-cpu" in names and "matmul-gpu" not in names
