"""Functions as the doctor finds them: loaded, broken, missing, and how long they may run."""

from pathlib import Path
from typing import Any

from runtime.doctor.functions import examine_functions
from runtime.finding import Finding, State
from runtime.settings import Settings

SOURCE = '''
from runtime import function


@function(timeout={timeout})
def {name}() -> int:
    """Do something."""
    return 1
'''


def write(folder: Path, name: str, timeout: float = 10) -> None:
    (folder / f"{name}.py").write_text(SOURCE.format(name=name, timeout=timeout))


async def examine(folder: Path | str, **given: Any) -> list[tuple[State, Finding]]:
    found = await examine_functions(Settings(functions=f"{folder}", **given))
    return [(each.state, each) for each in found]


async def test_functions_that_load_are_counted_and_some_are_named(tmp_path: Path) -> None:
    for k in range(7):
        write(tmp_path, f"f{k}")
    ((state, found),) = await examine(tmp_path)
    assert state is State.OK
    assert found.text == "7 can be served: f0, f1, f2, f3, f4 and 2 more"


async def test_a_broken_file_is_named_in_one_line_and_the_others_count(tmp_path: Path) -> None:
    write(tmp_path, "well")
    (tmp_path / "ill.py").write_text("raise ValueError('one\\ntwo')\n")
    (broken, first), (state, second) = await examine(tmp_path)
    assert (broken, state) == (State.PROBLEM, State.OK)
    assert first.text == f"{tmp_path}/ill.py: ValueError: one"
    assert second.text == "1 can be served: well"


async def test_a_folder_that_is_not_there_is_a_problem_and_an_empty_one_a_warning(
    tmp_path: Path,
) -> None:
    ((state, found),) = await examine(tmp_path / "nowhere")
    assert (state, f"{tmp_path}/nowhere" in found.text) == (State.PROBLEM, True)
    ((state, found),) = await examine(tmp_path)
    assert (state, found.text) == (State.WARNING, "there are none")


async def test_a_ladder_in_order_is_well_and_there_is_none_without_a_broker(tmp_path: Path) -> None:
    write(tmp_path, "quick", timeout=30)
    _, (state, ladder) = await examine(tmp_path, broker_url="amqp://x/", grace=30)
    assert (state, ladder.subject) == (State.OK, "timeouts")
    assert "grace 30 s < consumer_timeout 1800 s" in ladder.text
    assert len(await examine(tmp_path, grace=1)) == 1


async def test_a_grace_that_the_broker_does_not_wait_for_is_a_warning(tmp_path: Path) -> None:
    write(tmp_path, "quick", timeout=30)
    _, (state, ladder) = await examine(tmp_path, broker_url="amqp://x/", grace=1800)
    assert (state, "LUMBRE_GRACE=1800" in ladder.text) == (State.WARNING, True)
