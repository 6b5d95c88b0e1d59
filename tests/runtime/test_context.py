"""The context as plain Python, without a node."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import Blob, Context, InvalidInput, function
from runtime.blobs import Blobs
from runtime.model import Part


def test_a_function_is_tested_as_plain_python(tmp_path: Path) -> None:
    @function
    def steps(context: Context, n: int) -> dict[str, object]:
        for step in range(n):
            with context.timer("step"):
                context.progress((step + 1) / n, step=step)
        return {"link": context.output_blob("notes.txt", b"done", "text/plain")}

    context = Context.for_test(folder=tmp_path)
    result = steps(context, n=2)
    assert [e["fraction"] for e in context.progress_events] == [0.5, 1.0]
    assert [e["step"] for e in context.progress_events] == [0, 1]
    assert result == {"link": f"/invocations/{context.invocation_id}/blobs/notes.txt"}
    assert context.outputs == [
        Part("notes.txt", "text/plain", 4, key=f"{context.invocation_id}/notes.txt")
    ]
    assert (tmp_path / context.invocation_id / "notes.txt").read_bytes() == b"done"
    assert set(context.phases) == {"step"}
    assert (context.attempt, context.deadline, context.cancelled) == (1, None, False)


@given(st.floats(0, 1))
def test_a_fraction_between_0_and_1_is_told(fraction: float) -> None:
    context = Context.for_test()
    context.progress(fraction)
    assert context.progress_events == [{"fraction": fraction}]


@given(st.floats().filter(lambda f: not 0 <= f <= 1))
def test_any_other_fraction_is_refused(fraction: float) -> None:
    context = Context.for_test()
    with pytest.raises(ValueError, match="between 0 and 1"):
        context.progress(fraction)
    assert not context.progress_events


def test_progress_may_be_told_without_a_fraction() -> None:
    context = Context.for_test()
    context.progress(loss=0.5)
    assert context.progress_events == [{"fraction": None, "loss": 0.5}]


def test_a_timer_adds_up_and_counts_what_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([1.0, 3.0, 10.0, 15.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    context = Context.for_test()
    with context.timer("read"):
        pass
    with pytest.raises(ZeroDivisionError), context.timer("read"):
        1 / 0  # noqa: B018
    assert context.phases == {"read": 7.0}


@pytest.mark.parametrize("name", ["", "a/b", "../x", ".hidden", ".."])
def test_a_blob_that_is_no_plain_file_name_is_refused(name: str, tmp_path: Path) -> None:
    context = Context.for_test(folder=tmp_path)
    with pytest.raises(ValueError, match="plain file name"):
        context.output_blob(name, b"", "text/plain")
    assert not context.outputs and not list(tmp_path.iterdir())


def test_a_blob_needs_a_folder_in_a_test() -> None:
    with pytest.raises(RuntimeError, match="folder=tmp_path"):
        Context.for_test().output_blob("x", b"", "text/plain")


def test_an_upload_is_read_from_memory_or_from_the_store(tmp_path: Path) -> None:
    (tmp_path / "k").mkdir()
    (tmp_path / "k" / "big").write_bytes(b"stored")
    parts = (Part("small", "x/y", 2, b"in"), Part("big", "x/y", 6, key="k/big"))
    context = Context("cpu", parts=parts, blobs=Blobs(tmp_path.as_uri()))
    assert context.input_blob("small") == b"in"
    assert context.input_blob("big") == b"stored"
    with pytest.raises(InvalidInput, match="other: was not uploaded"):
        context.input_blob("other")


@pytest.mark.parametrize(
    ("kind", "simulated", "expected"),
    [("cpu", False, "cpu"), ("gpu", True, "cpu"), ("gpu", False, "cuda")],
)
def test_the_device_is_the_one_a_replica_computes_on(
    kind: str, simulated: bool, expected: str
) -> None:
    context = Context("gpu" if kind == "gpu" else "cpu", simulated=simulated)
    assert context.device.type == expected


def test_log_lines_carry_the_invocation(caplog: pytest.LogCaptureFixture) -> None:
    context = Context("cpu", "abc")
    with caplog.at_level("INFO"):
        context.log.info("step %d", 3)
    assert caplog.records[0].invocation == "abc"  # type: ignore[attr-defined]
    assert caplog.records[0].getMessage() == "step 3"


def test_a_decorated_class_is_tested_as_plain_python() -> None:
    @function
    class Adder:
        def setup(self, context: Context) -> None:
            self.base = 10

        def __call__(self, x: int) -> Blob:
            return Blob(bytes([self.base + x]))

    adder = Adder()
    adder.setup(Context.for_test())
    assert adder(1) == Blob(b"\x0b")
