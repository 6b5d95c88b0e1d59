"""Cost expressions: arithmetic over parameters, and nothing else."""

from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from runtime import Batching, Context, function
from runtime.cost import Cost
from runtime.errors import ConfigurationError
from runtime.function import describe

SCHEMA: dict[str, Any] = {
    "properties": {
        "n": {"type": "integer", "default": 4},
        "rate": {"type": "number"},
        "items": {"type": "array"},
        "image": {"type": "string", "contentMediaType": "image/png"},
    }
}


def cost(text: str, **parameters: Any) -> float | None:
    return Cost(text, SCHEMA).of(parameters, {})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("n ** 3", 64),
        ("2 * n + 1", 9),
        ("-n * -2", 8),
        ("+n / 8", 0.5),
        ("n // 3", 1),
        ("n % 3", 1),
        ("(n + 1) * 2 - 3", 7),
        ("min(n, 2, 9)", 2),
        ("max(n, 2)", 4),
        ("sqrt(n)", 2),
        ("log(n, 2)", 2),
        ("abs(0 - n)", 4),
        ("1e3", 1000),
        (" n ", 4),
    ],
)
def test_it_is_arithmetic_with_the_defaults_of_the_schema(text: str, value: float) -> None:
    assert cost(text) == value


def test_what_is_given_is_taken_before_the_default() -> None:
    assert cost("n ** 2", n=3) == 9
    assert cost("n * rate", n=3, rate=0.5) == 1.5
    assert cost("n", n=True) == 1


def test_len_is_of_lists_texts_and_uploads() -> None:
    assert cost("len(items)", items=[1, 2, 3]) == 3
    assert cost("len(items)", items="four") == 4
    assert Cost("len(image) * n", SCHEMA).of({"n": 2}, {"image": 10**9}) == 2 * 10**9


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("n / rate", {"rate": 0}),
        ("n % rate", {"rate": 0}),
        ("rate", {}),
        ("rate", {"rate": "3"}),
        ("rate", {"rate": None}),
        ("rate", {"rate": [1]}),
        ("len(rate)", {"rate": 3}),
        ("sqrt(n)", {"n": -1}),
        ("log(n)", {"n": 0}),
        ("n", {"n": 0}),
        ("n", {"n": -3}),
        ("n ** rate", {"n": -8, "rate": 0.5}),
        ("n ** rate", {"n": 2, "rate": 10**9}),
        ("n ** 64 ** n", {"n": 9}),
        ("n ** 60 * n ** 60 * n ** 60", {"n": 10**9}),
        ("n", {"n": 10**400}),
    ],
)
def test_where_there_is_no_number_above_nothing_there_is_no_cost(
    text: str, parameters: dict[str, Any]
) -> None:
    assert cost(text, **parameters) is None


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("__import__('os').system('true')", "__import__"),
        ("n.real", "n.real"),
        ("n if n else 1", "n if n else 1"),
        ("[n]", "[n]"),
        ("n < 3", "n < 3"),
        ("n and 3", "n and 3"),
        ("~n", "~n"),
        ("n << 9", "n << 9"),
        ("n @ n", "n @ n"),
        ("'n'", "'n'"),
        ("True", "True"),
        ("1j", "1j"),
        ("lambda: n", "lambda"),
        ("(m := n)", "m := n"),
        ("f'{n}'", "{n}"),
        ("sum(n)", "sum(n)"),
        ("min(n)", "gives min 1 numbers"),
        ("sqrt(n, 2)", "gives sqrt 2 numbers"),
        ("len(n + 1)", "len(n + 1)"),
        ("max(*items)", "max(*items)"),
        ("log(n, base=2)", "base=2"),
        ("min", "'min', which is no parameter"),
        ("rat * 2", "did you mean 'rate'?"),
        ("zebra", "there are: image, items, n, rate"),
        ("n **", "is no formula"),
        ("n; n", "is no formula"),
        ("", "give a formula"),
        ("n" + " + n" * 100, "at most 300"),
        ("(" * 250 + "n" + ")" * 40, "is no formula"),
    ],
)
def test_anything_else_is_refused_and_named(text: str, part: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Cost(text, SCHEMA)
    assert part in str(refused.value)


@given(st.text(max_size=40))
def test_no_text_ever_does_anything_but_give_a_cost_or_be_refused(text: str) -> None:
    try:
        found = Cost(text, SCHEMA).of({"n": 2, "rate": 0.5, "items": [1]}, {"image": 3})
    except ConfigurationError:
        return
    assert found is None or found > 0


def test_a_function_whose_cost_is_not_understood_is_refused_when_it_is_described() -> None:
    @function(cost="size ** 2")
    def work(context: Context, n: Annotated[int, Field(ge=1)] = 3) -> int:
        return n

    with pytest.raises(
        ConfigurationError, match=r"^function 'work': cost has 'size', which is no parameter"
    ):
        describe(work, file="work.py", attribute="work")

    @function(cost=3)  # type: ignore[call-overload, untyped-decorator]
    def wrong(n: int) -> int:
        return n

    with pytest.raises(ConfigurationError, match="function 'wrong': cost is 3: give a formula"):
        describe(wrong, file="wrong.py", attribute="wrong")


class Item(BaseModel):
    """One of a batch."""

    n: int = 2


def test_the_cost_of_one_item_of_a_batch_is_over_its_fields() -> None:
    @function(cost="n * 3", batching=Batching(4))
    def many(items: list[Item]) -> list[int]:
        return [item.n for item in items]

    spec = describe(many, file="many.py", attribute="many")
    assert Cost(spec.cost or "", spec.input_schema).of({}, {}) == 6
