"""The Containerfiles keep to the rules of hadolint that are checked here, and to ours.

Numbers such as DL3006 are hadolint's.
"""

import re
import tomllib

import pytest

from deploy.pod import GATEWAY_PORT, HEALTH_PORT, HOME, USER
from runtime.catalog import release
from runtime.settings import PREFIX, Settings
from tests.deploy.containerfile import Containerfile
from tests.support import ROOT

FILES = {name: Containerfile.read(ROOT / f"Containerfile.{name}") for name in ("cpu", "cuda")}
TARGETS = ("gateway", "worker")
both = pytest.mark.parametrize("file", FILES.values(), ids=FILES)
each_target = pytest.mark.parametrize("target", TARGETS)
IMAGE = re.compile(r"(?P<name>[^:@]+):(?P<tag>[^:@]+)(@sha256:[0-9a-f]{64})?")


# ── what they are made from ───────────────────────────────────────────────────────────────────────


@both
def test_every_base_is_pinned_to_a_whole_version(file: Containerfile) -> None:  # DL3006, DL3007
    for stage in file.stages.values():
        if stage.base in file.stages or stage.base == "scratch":
            continue
        image = IMAGE.fullmatch(stage.base)
        assert image, f"{stage.base} has no tag"
        assert re.match(r"\d+\.\d+\.\d+-", image["tag"]), f"{stage.base} may become another"
        assert image["tag"].endswith("-bookworm")  # not "slim", which is another Debian one day


@both
def test_what_is_copied_comes_from_a_stage_above_or_from_this_repository(
    file: Containerfile,
) -> None:  # DL3022
    above: list[str] = []
    for stage in file.stages.values():
        for copied in stage.all("COPY"):
            sources = copied.text.split()[:-1]
            if "from" in copied.flags:
                assert copied.flags["from"] in above
            else:
                assert all((ROOT / source).exists() for source in sources), copied.text
        above.append(stage.name)


@both
def test_nothing_is_added_from_elsewhere(file: Containerfile) -> None:  # DL3020, DL4001
    for stage in file.stages.values():
        assert not stage.all("ADD")
        assert not [each for each in stage.all("RUN") if re.search(r"\b(curl|wget)\b", each.text)]


@both
def test_packages_are_installed_in_full_and_nothing_is_left_of_how(file: Containerfile) -> None:
    runs = [each.text for stage in file.stages.values() for each in stage.all("RUN")]
    apt = [text for text in runs if "apt-get install" in text]
    assert apt
    for text in apt:  # DL3008, DL3009, DL3014, DL3015
        assert "apt-get update &&" in text
        assert "install --yes --no-install-recommends" in text
        assert "rm -rf /var/lib/apt/lists/*" in text
        packages = re.findall(r"--no-install-recommends (.*?) &&", text)[0].split()
        assert all("=" in package for package in packages)
    commands = [command.strip() for text in runs for command in text.split("&&")]
    pip = [command for command in commands if command.startswith("pip ")]
    assert pip
    for command in pip:  # DL3042
        assert "--no-cache-dir" in command
        assert "--only-binary :all:" in command or "--no-deps" in command  # no compiler is needed


@both
def test_no_stage_has_a_compiler(file: Containerfile) -> None:
    for stage in file.stages.values():
        for each in stage.instructions:
            assert not re.search(
                r"\b(gcc|g\+\+|clang|build-essential|make|python3-dev)\b", each.text
            )


@both
def test_no_secret_is_in_an_argument_or_a_variable(file: Containerfile) -> None:
    for stage in file.stages.values():
        for each in (*stage.all("ARG"), *stage.all("ENV")):
            names = re.findall(r"(\w+)(?==|$)", each.text)
            told = [n for n in names if re.search(r"PASSWORD|SECRET|TOKEN|CREDENTIAL|_KEY\b", n)]
            assert not told


# ── what runs ─────────────────────────────────────────────────────────────────────────────────────


@both
def test_the_targets_are_there_and_the_worker_is_built_if_none_is_named(
    file: Containerfile,
) -> None:
    assert set(TARGETS) <= file.stages.keys()
    assert list(file.stages)[-1] == "worker"


@both
@each_target
def test_an_image_runs_as_a_numbered_user_who_is_not_root(
    file: Containerfile, target: str
) -> None:  # DL3002
    done = file.what_runs(target)
    words = [each.word for each in done]
    assert [each.text for each in done if each.word == "USER"] == [f"{USER}:{USER}"]
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert "RUN" not in words[words.index("USER") :]  # it could change nothing


@both
@each_target
def test_an_image_starts_lumbre_below_an_init_and_stops_by_sigterm(
    file: Containerfile, target: str
) -> None:  # DL3025
    done = {each.word: each for each in file.what_runs(target)}
    assert done["ENTRYPOINT"].words == ["tini", "--", "lumbre"]
    assert done["CMD"].words == ["--help"]
    assert done["STOPSIGNAL"].text == "SIGTERM"
    assert done["WORKDIR"].text == "/app"  # DL3000


@both
@each_target
def test_an_image_has_a_health_check_that_needs_no_other_program(
    file: Containerfile, target: str
) -> None:
    (check,) = [each for each in file.what_runs(target) if each.word == "HEALTHCHECK"]
    assert check.flags.keys() == {"interval", "timeout", "start-period", "retries"}
    assert check.text == 'CMD ["python", "-m", "deploy.healthcheck"]'
    assert (ROOT / "deploy" / "healthcheck.py").is_file()


@both
@each_target
def test_an_image_writes_to_its_state_and_to_tmp_only(file: Containerfile, target: str) -> None:
    variables = environment(file, target)
    assert variables["PYTHONDONTWRITEBYTECODE"] == "1"
    for name in ("TMPDIR", "XDG_CACHE_HOME", "LUMBRE_STATE"):
        assert variables[name].startswith(("/tmp", f"{HOME}/"))
    caches = [name for name in variables if "CACHE" in name]
    assert all(variables[name].startswith("/tmp/") for name in caches)


@both
@each_target
def test_the_variables_of_an_image_are_settings_and_the_ports_are_those_of_pods(
    file: Containerfile, target: str
) -> None:
    variables = environment(file, target)
    own = {name.removeprefix(PREFIX).lower() for name in variables if name.startswith(PREFIX)}
    assert own <= Settings.model_fields.keys()
    assert variables["LUMBRE_PORT"] == str(GATEWAY_PORT)
    assert variables["LUMBRE_HEALTH_PORT"] == str(HEALTH_PORT)
    exposed = [each.text for each in file.what_runs(target) if each.word == "EXPOSE"]
    assert exposed == [f"{GATEWAY_PORT} {HEALTH_PORT}"]


@both
def test_the_gateway_serves_the_baked_catalog_and_has_neither_torch_nor_functions(
    file: Containerfile,
) -> None:
    assert environment(file, "gateway")["LUMBRE_CATALOG"] == "/app/catalog.json"
    assert "LUMBRE_CATALOG" not in environment(file, "worker")  # a derived file may add functions
    sources = {each.flags.get("from") for each in file.what_runs("gateway") if each.word == "COPY"}
    assert sources == {"libraries", "lumbre", "baked"}
    copied = [each.text for each in file.stages["gateway"].all("COPY")]
    assert copied == ["/app/catalog.json /app/catalog.json"]
    assert [each.words for each in file.stages["baked"].all("RUN")] == [
        ["/opt/app/bin/lumbre", "bake", "/app/functions", "--output", "/app/catalog.json"]
    ]


@both
@each_target
def test_an_image_says_what_it_is(file: Containerfile, target: str) -> None:
    (label,) = file.stages[target].all("LABEL")
    told = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', label.text))
    assert told.keys() == {"title", "description", "licenses", "version", "revision"}
    assert (
        told["licenses"]
        == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"]
    )
    (version,) = [each.text for each in file.stages[target].all("ARG") if "VERSION" in each.text]
    assert version == f"VERSION={release()}"


def test_only_the_image_for_gpus_asks_nvidias_runtime_for_them() -> None:
    gpu = environment(FILES["cuda"], "worker")
    assert gpu["NVIDIA_VISIBLE_DEVICES"] == "all"
    assert gpu["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"
    others = [("cpu", "gateway"), ("cpu", "worker"), ("cuda", "gateway")]
    for name, target in others:
        assert not [v for v in environment(FILES[name], target) if v.startswith("NVIDIA")]


def test_the_two_files_differ_in_the_worker_only() -> None:
    cpu, cuda = FILES["cpu"], FILES["cuda"]
    assert cpu.arguments == cuda.arguments
    assert cpu.stages.keys() == cuda.stages.keys()
    for name in cpu.stages.keys() - {"worker"}:
        assert cpu.stages[name] == cuda.stages[name]


# ── what is sent to a build ───────────────────────────────────────────────────────────────────────


def test_a_build_is_sent_what_it_copies_and_no_secret() -> None:
    lines = (ROOT / ".containerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    sent = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        source.split("/")[0]
        for file in FILES.values()
        for stage in file.stages.values()
        for each in stage.all("COPY")
        if "from" not in each.flags
        for source in each.text.split()[:-1]
    }
    assert sent == copied
    assert "deploy/secrets" in rules
    assert (ROOT / ".dockerignore").read_text() == (ROOT / ".containerignore").read_text()


def environment(file: Containerfile, target: str) -> dict[str, str]:
    """The variables that a target sets."""
    texts = [each.text for each in file.what_runs(target) if each.word == "ENV"]
    return {name: value for text in texts for name, value in re.findall(r"(\w+)=(\S+)", text)}
