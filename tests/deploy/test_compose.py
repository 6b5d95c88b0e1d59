"""deploy/compose.yaml: by the Compose specification's schema, and by what Lumbre and safety ask."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import gateway, recorder
from deploy.ladder import ladder
from deploy.pod import BLOBS, GATEWAY_PORT, HEALTH_PORT, HOME, USER
from deploy.rabbitmq_conf import rabbitmq_conf
from deploy.values import Values
from loadtest.servers import RabbitServer
from runtime.baked import bake
from runtime.function import FunctionSpec, spec_from_json
from runtime.settings import Settings, read_settings
from tests.conftest import running
from tests.deploy.containerfile import Containerfile
from tests.deploy.test_scripts import environment
from tests.support import ROOT

FILE = ROOT / "deploy" / "compose.yaml"
COMPOSE = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OWN = [name for name, each in SERVICES.items() if each["image"].startswith("lumbre:")]
WORKERS = ["worker-cpu", "worker-gpu"]
IMAGE_USERS = {"prometheus": "65534:65534", "grafana": "472:0"}  # numbers of their images
SECRETS = ROOT / "deploy" / "scripts" / "make_compose_secrets.sh"
each_service = pytest.mark.parametrize("name", SERVICES)


def seconds(text: str) -> int:
    assert re.fullmatch(r"[0-9]+s", text)
    return int(text[:-1])


def test_it_keeps_to_the_schema_of_the_compose_specification() -> None:
    pytest.importorskip("check_jsonschema", reason="needs check-jsonschema, which has the schema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, FILE], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_has_every_role_and_all_that_they_need() -> None:
    assert list(SERVICES) == [
        *("rabbitmq", "postgres", "migrate", "gateway", "recorder"),
        *(*WORKERS, "prometheus", "grafana"),
    ]
    profiles = {name: each["profiles"] for name, each in SERVICES.items() if "profiles" in each}
    metrics = ["metrics"]
    assert profiles == {"worker-gpu": ["gpu"], "prometheus": metrics, "grafana": metrics}


# ── safety ────────────────────────────────────────────────────────────────────────────────────────


@each_service
def test_a_service_has_no_rights_that_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"] and "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service and service.get("network_mode") is None
    if name not in OWN:  # Lumbre's own images say who they run as
        assert re.fullmatch(r"[1-9][0-9]*:[0-9]+", service["user"])
    assert service["mem_limit"] and service["pids_limit"]


@each_service
def test_an_image_is_pinned_or_built_here_and_pulled_from_nowhere(name: str) -> None:
    service = SERVICES[name]
    if name in OWN:
        assert service["pull_policy"] == "never"
        return
    assert re.search(r":v?[0-9]+\.[0-9]+(\.[0-9]+)?(-[a-z]+)?$", service["image"])


@each_service
def test_what_is_published_is_published_on_this_machine_only(name: str) -> None:
    for port in SERVICES[name].get("ports", ()):
        assert port.startswith("127.0.0.1:")
    assert ("ports" in SERVICES[name]) == (name in ("gateway", "grafana"))


def test_functions_reach_rabbitmq_and_nothing_else() -> None:
    networks = {name: set(each["networks"]) for name, each in SERVICES.items()}
    for worker in WORKERS:
        assert networks[worker] == {"work"}
    assert COMPOSE["networks"]["work"]["internal"] is True
    assert {n for n, of in networks.items() if "work" in of} == {*WORKERS, "rabbitmq", "prometheus"}
    assert {n for n, of in networks.items() if "ledger" in of} == {
        *("postgres", "migrate", "gateway", "recorder"),
    }
    used = set().union(*networks.values())
    assert used == COMPOSE["networks"].keys()
    open_ones = {name for name, each in COMPOSE["networks"].items() if not each.get("internal")}
    assert open_ones == {"front"}


def test_no_secret_is_in_the_file() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            assert not re.search(r"PASSWORD|SECRET|TOKEN|API_KEY", variable), name
            assert "@" not in str(value), f"{name}: {variable} has credentials"
    files = {file for each in SERVICES.values() for file in each.get("env_file", ())}
    assert files and all(file.startswith("secrets/") for file in files)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compose") / "secrets"
    subprocess.run([SECRETS, folder], check=True, capture_output=True, timeout=30)
    return folder


def variables(file: Path) -> dict[str, str]:
    pairs = [line.partition("=") for line in file.read_text().splitlines()]
    return {name: value for name, _, value in pairs}


def test_secrets_are_made_once_for_every_service_and_only_their_owner_reads_them(
    secrets: Path,
) -> None:
    named = {Path(f).name for each in SERVICES.values() for f in each.get("env_file", ())}
    made = {file.name: file.read_text() for file in secrets.iterdir()}
    assert made.keys() == named | {".gitignore"}
    assert made[".gitignore"] == "*\n"
    assert secrets.stat().st_mode & 0o77 == 0
    assert not [file for file in secrets.iterdir() if file.stat().st_mode & 0o77]
    again = subprocess.run([SECRETS, secrets], capture_output=True, text=True, timeout=30)
    assert (again.returncode, again.stdout) == (0, "")
    assert {file.name: file.read_text() for file in secrets.iterdir()} == made


def test_secrets_agree_with_each_other_and_are_long(secrets: Path) -> None:
    rabbit, lumbre = variables(secrets / "rabbitmq.env"), variables(secrets / "lumbre.env")
    assert rabbit["RABBITMQ_DEFAULT_USER"] == lumbre["LUMBRE_BROKER_USERNAME"]
    assert rabbit["RABBITMQ_DEFAULT_PASS"] == lumbre["LUMBRE_BROKER_PASSWORD"]
    password = variables(secrets / "postgres.env")["POSTGRES_PASSWORD"]
    url = variables(secrets / "ledger.env")["LUMBRE_LEDGER_URL"]
    user = SERVICES["postgres"]["environment"]["POSTGRES_USER"]
    assert url == f"postgresql://{user}:{password}@postgres/lumbre"
    grafana = variables(secrets / "grafana.env")["GF_SECURITY_ADMIN_PASSWORD"]
    three = {rabbit["RABBITMQ_DEFAULT_PASS"], password, grafana}
    assert len(three) == 3
    assert all(re.fullmatch(r"[A-Za-z0-9]{40}", each) for each in three)


def test_half_a_pair_of_secrets_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "lumbre.env").write_text("LUMBRE_BROKER_PASSWORD=old\n")
    done = subprocess.run([SECRETS, tmp_path], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "only one of rabbitmq.env and lumbre.env" in done.stderr
    assert not (tmp_path / "rabbitmq.env").exists()


# ── what Lumbre asks ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", OWN)
def test_the_variables_of_a_service_are_settings_that_can_be_read(
    name: str, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = SERVICES[name]
    given = {k: filled(str(v)) for k, v in service.get("environment", {}).items()}
    for file in service.get("env_file", ()):
        given |= variables(secrets / Path(file).name)
    for variable in list(os.environ):
        if variable.startswith("LUMBRE_"):
            monkeypatch.delenv(variable)
    for variable, value in given.items():
        assert variable.removeprefix("LUMBRE_").lower() in Settings.model_fields
        monkeypatch.setenv(variable, value)
    settings = read_settings()
    assert settings.ledger.startswith("postgresql") == ("secrets/ledger.env" in service["env_file"])
    assert settings.embedded == (name == "migrate")


def filled(text: str) -> str:
    """A value, with the defaults of Compose's variables."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


@pytest.mark.parametrize("name", OWN)
def test_a_service_of_lumbre_writes_to_its_volume_and_to_memory_only(name: str) -> None:
    places = [each.partition(":") for each in SERVICES[name]["tmpfs"]]
    assert [place for place, _, _ in places] == ["/tmp", f"{HOME}/state"]
    assert f"uid={USER},gid={USER}" in places[1][2]
    assert SERVICES[name].get("volumes", [f"blobs:{BLOBS}"]) == [f"blobs:{BLOBS}"]


def test_images_are_built_from_targets_that_are_there() -> None:
    built = {name: each["build"] for name, each in SERVICES.items() if "build" in each}
    assert built.keys() == {"gateway", *WORKERS}
    for build in built.values():
        assert build["context"] == ".."
        file = Containerfile.read(ROOT / build["dockerfile"])
        assert build["target"] in file.stages
        known = {a.text.split("=")[0] for s in file.stages.values() for a in s.all("ARG")}
        assert build["args"].keys() <= known


@pytest.fixture(scope="module")
def functions() -> list[FunctionSpec]:
    """The shipped functions, which are in the images."""
    files = json.loads(asyncio.run(bake([ROOT / "functions"])))["files"].values()
    return [spec_from_json(spec) for each in files for spec in each["functions"]]


def test_whoever_is_stopped_has_the_time_that_it_needs(
    functions: list[FunctionSpec],
) -> None:
    longest = ladder(max(functions, key=lambda spec: spec.timeout))
    for worker in WORKERS:
        service = SERVICES[worker]
        assert int(service["environment"]["LUMBRE_GRACE"]) == longest.grace
        assert seconds(service["stop_grace_period"]) >= longest.termination
    drained = gateway.DRAIN + gateway.CONFIRMED
    assert seconds(SERVICES["gateway"]["stop_grace_period"]) >= drained
    assert seconds(SERVICES["recorder"]["stop_grace_period"]) >= recorder.GRACE
    told = int(SERVICES["gateway"]["environment"]["LUMBRE_CONSUMER_TIMEOUT"])
    assert told >= longest.consumer
    assert rabbit_lines()["consumer_timeout"] == f"{told * 1000}"


def test_commands_are_those_of_lumbre() -> None:
    commands = {name: SERVICES[name]["command"] for name in OWN}
    assert commands == {
        "migrate": ["migrate"],
        "gateway": ["gateway", "--no-recorder"],
        "recorder": ["recorder"],
        "worker-cpu": ["worker", "--device", "cpu", "--autoscale"],
        "worker-gpu": ["worker", "--device", "gpu", "--autoscale"],
    }


def test_the_worker_for_gpus_reserves_nvidias() -> None:
    (device,) = SERVICES["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    assert "deploy" not in SERVICES["worker-cpu"]


def test_what_is_depended_on_is_there_and_can_be_waited_for() -> None:
    for service in SERVICES.values():
        for name, how in service.get("depends_on", {}).items():
            one_shot = how["condition"] == "service_completed_successfully"
            assert one_shot == (name == "migrate")
            assert one_shot or SERVICES[name]["healthcheck"]["test"]


# ── RabbitMQ and Prometheus ───────────────────────────────────────────────────────────────────────


def rabbit_lines() -> dict[str, str]:
    text = (ROOT / "deploy" / "rabbitmq" / "rabbitmq.conf").read_text()
    pairs = [line.partition(" = ") for line in text.splitlines() if line and line[0] != "#"]
    return {name: value for name, _, value in pairs}


def test_rabbitmq_is_told_what_it_is_told_on_a_cluster() -> None:
    own = rabbit_lines()
    pairs = [
        line.partition(" = ") for line in rabbitmq_conf(Values()).splitlines() if " = " in line
    ]
    cluster = {name: value for name, _, value in pairs}
    sized = {"total_memory_available_override_value", "disk_free_limit.absolute"}
    assert {name: own.get(name) for name in cluster.keys() - sized} == {
        name: value for name, value in cluster.items() if name not in sized
    }


@pytest.fixture
def rabbit_of_the_file() -> Iterator[RabbitServer]:
    """A server that reads our lines, but for its addresses, and what 3.10 does not know yet."""
    passed = ("listeners", "management.tcp", "prometheus", "log.", "deprecated_features")
    lines = {name: v for name, v in rabbit_lines().items() if not name.startswith(passed)}
    with running(lambda folder: RabbitServer(folder, plugins=(), config=lines)) as server:
        yield server


def test_rabbitmq_takes_the_configuration(rabbit_of_the_file: RabbitServer) -> None:
    asked = "application:get_env(rabbit, consumer_timeout)."
    assert "1800000" in rabbit_of_the_file.ctl("eval", asked)


def test_prometheus_finds_every_role_where_it_listens() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    found: dict[str, int] = {}
    for job in config["scrape_configs"]:
        for lookup in job.get("dns_sd_configs", ()):
            assert lookup["type"] == "A"
            found |= {name: lookup["port"] for name in lookup["names"]}
    assert found == {
        "gateway": GATEWAY_PORT,
        "recorder": HEALTH_PORT,
        "worker-cpu": HEALTH_PORT,
        "worker-gpu": HEALTH_PORT,
    }
    networks = set(SERVICES["prometheus"]["networks"])
    assert all(networks & set(SERVICES[name]["networks"]) for name in (*found, "rabbitmq"))


# ── the scripts ───────────────────────────────────────────────────────────────────────────────────

ENGINE = """#!/bin/sh
echo "$(basename "$0") $*" >>"$CALLS"
case "$*" in
"image inspect"*) exit 1 ;;
esac
"""


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """A stand-in for docker, which writes down what it is told, and has no image."""
    folder = tmp_path / "bin"
    folder.mkdir()
    docker = folder / "docker"
    docker.write_text(ENGINE)
    docker.chmod(0o755)
    return docker


def run(
    script: str, *arguments: str, engine: Path, path: str | None = None, **more: str
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    calls = engine.parent.parent / "calls"
    done = subprocess.run(
        [ROOT / "deploy" / "scripts" / script, *arguments],
        env=environment(CALLS=str(calls), **more)
        | {"PATH": path or f"{engine.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done, calls.read_text().splitlines() if calls.exists() else []


def test_all_images_are_built_where_none_is_named(engine: Path) -> None:
    done, calls = run("build_images.sh", engine=engine, TORCH_INDEX="https://index.example/cpu")
    assert done.returncode == 0, done.stderr
    told = [re.findall(r"--file (\S+) --target (\S+) --tag (\S+)", call)[0] for call in calls]
    assert told == [
        ("Containerfile.cpu", "gateway", "lumbre:gateway"),
        ("Containerfile.cpu", "worker", "lumbre:cpu"),
        ("Containerfile.cuda", "worker", "lumbre:cuda"),
    ]
    assert "TORCH_INDEX=https://index.example/cpu " in calls[1]
    assert "TORCH_INDEX= " in calls[2]
    assert all("VERSION=0." in call and "REVISION=" in call for call in calls)
    assert "note" not in done.stderr


def test_an_image_is_built_with_other_functions_under_another_name_and_pushed(
    engine: Path, tmp_path: Path
) -> None:
    options = ["--functions", str(tmp_path), "--name", "registry.example/a/b", "--suffix", "-7"]
    options += ["--base", "python:3.11.16-slim-bookworm@sha256:0", "--push"]
    done, calls = run("build_images.sh", "cpu", *options, engine=engine, PACKAGES="gcsfs adlfs")
    assert done.returncode == 0, done.stderr
    assert "TORCH_INDEX is not set" in done.stderr
    build, push = calls
    assert f"--build-context functions={tmp_path}" in build
    assert "--build-arg BASE=python:3.11.16-slim-bookworm@sha256:0" in build
    assert "--build-arg PACKAGES=gcsfs adlfs" in build
    assert push == "docker push registry.example/a/b:cpu-7"


def test_podman_is_told_to_keep_the_health_check(engine: Path) -> None:
    podman = engine.rename(engine.with_name("podman"))
    done, calls = run("build_images.sh", "gateway", engine=podman, ENGINE="podman")
    assert done.returncode == 0, done.stderr
    assert "--format docker" in calls[0]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["gpu"], "gpu is neither gateway, cpu or cuda nor an option"),
        (["--name"], "--name needs a value"),
        (["--functions", "/nowhere"], "there is no folder /nowhere"),
    ],
)
def test_a_wrong_word_is_refused_before_anything_is_built(
    arguments: list[str], told: str, engine: Path
) -> None:
    done, calls = run("build_images.sh", *arguments, engine=engine)
    assert (done.returncode, calls) == (2, [])
    assert told in done.stderr


def test_without_docker_and_podman_it_is_said_what_to_do(engine: Path) -> None:
    bare = engine.parent.parent / "bare"
    bare.mkdir()
    for program in ("sh", "dirname", "git", "sed"):
        found = next(p for p in ("/usr/bin", "/bin") if Path(p, program).exists())
        (bare / program).symlink_to(Path(found, program))
    for script in ("build_images.sh", "start_compose.sh"):
        done, calls = run(script, engine=engine, path=str(bare))
        assert (done.returncode, calls) == (1, [])
        assert re.search(r"neither docker nor podman: install|needs Docker or Podman", done.stderr)


def test_one_command_makes_secrets_and_images_and_starts_what_is_asked_for(
    engine: Path, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "deploy" / "scripts", tmp_path / "deploy" / "scripts")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    start = str(tmp_path / "deploy" / "scripts" / "start_compose.sh")
    done, calls = run(start, "--gpu", "--metrics", engine=engine, LUMBRE_PORT="8123")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "deploy" / "secrets" / "lumbre.env").is_file()
    built = [call for call in calls if call.startswith("docker build")]
    assert [re.findall(r"--tag (\S+)", call)[0] for call in built] == [
        *("lumbre:gateway", "lumbre:cpu", "lumbre:cuda"),
    ]
    assert calls[-1] == (
        "docker compose --file deploy/compose.yaml --profile gpu --profile metrics"
        " up --detach --wait"
    )
    assert "http://127.0.0.1:8123" in done.stdout


def test_the_script_for_windows_hands_over_to_the_one_for_linux() -> None:
    text = (ROOT / "deploy" / "scripts" / "build_images.ps1").read_text()
    assert re.findall(r"sh (deploy/scripts/\w+\.sh)", text) == ["deploy/scripts/build_images.sh"]
    assert "wsl --install" in text
