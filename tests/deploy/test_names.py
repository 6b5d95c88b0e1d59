"""Names that Kubernetes would not take, or would take for another's."""

from hypothesis import given
from hypothesis import strategies as st

from deploy.names import name_faults
from runtime.function import NAME
from tests.specs import made_up


def test_names_that_are_no_labels_are_refused() -> None:
    (fault,) = name_faults([made_up("matmul_")])
    assert fault.startswith("function matmul_: Kubernetes takes no such name for a label: rename")
    assert list(name_faults([made_up("a" * 64)]))
    assert not list(name_faults([made_up("a" * 63), made_up("x"), made_up("a_b")]))


@given(st.sets(st.from_regex(NAME, fullmatch=True), max_size=5))
def test_functions_of_other_names_never_share_resources(names: set[str]) -> None:
    specs = [made_up(name, devices=("cpu", "gpu")) for name in names]
    assert not [fault for fault in name_faults(specs) if "would be called" in fault]


def test_two_of_one_name_are_refused() -> None:
    faults = list(name_faults([made_up("work"), made_up("work")]))
    assert faults == [
        "function work on cpu: its resources would be called work-cpu, as those of work on cpu"
        " are: rename one of the two"
    ]
