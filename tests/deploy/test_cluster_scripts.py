"""The scripts for a cluster, run against a kubectl that keeps what it was told."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support import ROOT

SCRIPTS = ROOT / "deploy" / "scripts"
KUBECTL = """#!/bin/sh
# Keeps its arguments and what it is given; knows what is named in $THERE.
printf '%s\\n' "$*" >>"$CALLS"
case "$*" in
*"get nodes"*) cat "$NODES" ;;
*"get secret"* | *"get namespace"*)
    for name in $THERE; do case "$*" in *"get "*" $name "--*) echo "found/$name" ;; esac done ;;
*create\\ -f*) cat >>"$MADE"; echo --- >>"$MADE" ;;
esac
"""


class Kubectl:
    """A folder in front of PATH, with a kubectl in it."""

    def __init__(self, folder: Path) -> None:
        self.calls, self.made, self.nodes = (folder / n for n in ("calls", "made", "nodes"))
        for file in (self.calls, self.made, self.nodes):
            file.touch()
        program = folder / "kubectl"
        program.write_text(KUBECTL)
        program.chmod(0o755)
        self.environment = os.environ | {
            "PATH": f"{folder}:{os.environ['PATH']}",
            "CALLS": str(self.calls),
            "MADE": str(self.made),
            "NODES": str(self.nodes),
            "THERE": "",
        }

    def run(
        self, script: str, *arguments: str, there: str = ""
    ) -> subprocess.CompletedProcess[str]:
        environment = self.environment | {"THERE": there}
        command = [str(SCRIPTS / script), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    def told(self, verb: str) -> list[str]:
        return [call for call in self.calls.read_text().splitlines() if verb in call]


@pytest.fixture
def kubectl(tmp_path: Path) -> Kubectl:
    return Kubectl(tmp_path)


NODES = (
    "one cpu=4 nvidia.com/gpu=2\ntwo cpu=4\nthree nvidia.com/gpu=0\nfour nvidia.com/mig-1g.10gb=7\n"
)


def test_nodes_with_gpus_are_shown_and_not_tainted_unless_asked(kubectl: Kubectl) -> None:
    kubectl.nodes.write_text(NODES)
    done = kubectl.run("taint_gpu_nodes.sh")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        f"kubectl taint nodes {node} nvidia.com/gpu=present:NoSchedule --overwrite"
        for node in ("one", "four")
    ]
    assert "nothing was changed" in done.stderr
    assert kubectl.told("taint") == []


def test_nodes_with_gpus_are_tainted_and_cleared(kubectl: Kubectl) -> None:
    kubectl.nodes.write_text(NODES)
    assert kubectl.run("taint_gpu_nodes.sh", "--apply").returncode == 0
    assert kubectl.told("taint") == [
        f"taint nodes {node} nvidia.com/gpu=present:NoSchedule --overwrite"
        for node in ("one", "four")
    ]
    kubectl.calls.write_text("")
    assert kubectl.run("taint_gpu_nodes.sh", "--remove", "five").returncode == 0
    assert kubectl.told("taint") == ["taint nodes five nvidia.com/gpu:NoSchedule-"]


def test_without_a_gpu_node_it_says_where_to_look(kubectl: Kubectl) -> None:
    done = kubectl.run("taint_gpu_nodes.sh", "--apply")
    assert done.returncode == 1 and "device plugin" in done.stderr


def test_secrets_are_made_as_the_pods_want_them(kubectl: Kubectl) -> None:
    done = kubectl.run("make_secrets.sh", "teams", there="teams")
    assert done.returncode == 0, done.stderr
    made = {
        each["metadata"]["name"]: each
        for each in yaml.safe_load_all(kubectl.made.read_text())
        if each
    }
    assert made.keys() == {"lumbre-broker", "lumbre-database"}
    assert {each["metadata"]["namespace"] for each in made.values()} == {"teams"}
    broker, database = (made[name]["stringData"] for name in ("lumbre-broker", "lumbre-database"))
    assert broker["username"] == "lumbre" and len(broker["password"]) == 40
    password = database["password"]
    assert len(password) == 40 and password != broker["password"]
    assert database["url"] == f"postgresql://lumbre:{password}@lumbre-postgres:5432/lumbre"
    shown = kubectl.calls.read_text() + done.stdout + done.stderr
    assert password not in shown and broker["password"] not in shown
    assert kubectl.told("create namespace") == []


def test_secrets_that_are_there_stay_as_they_are(kubectl: Kubectl) -> None:
    done = kubectl.run("make_secrets.sh", there="lumbre-broker")
    assert "secret lumbre-broker is there" in done.stdout
    assert [
        each["metadata"]["name"] for each in yaml.safe_load_all(kubectl.made.read_text()) if each
    ] == ["lumbre-database"]
    assert kubectl.told("create namespace") == ["create namespace lumbre"]


@pytest.mark.parametrize("script", ["make_secrets.sh", "taint_gpu_nodes.sh"])
def test_a_wrong_word_changes_nothing_and_help_says_how(kubectl: Kubectl, script: str) -> None:
    assert kubectl.run(script, "--nonsense").returncode == 2
    helped = kubectl.run(script, "--help")
    assert helped.returncode == 0 and f"usage: deploy/scripts/{script}" in helped.stdout
    assert kubectl.calls.read_text() == ""
    assert kubectl.made.read_text() == ""
