"""What is asked for, and what must come of it."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from loadtest.chaos.batch import SIZE, batches
from loadtest.chaos.order import FUNCTIONS, LARGE, Order, Way, digest, orders
from runtime.catalog import Catalog
from runtime.intake import Validator

SOURCE = Path(__file__).parents[3] / "loadtest" / "chaos" / "functions"


def test_a_seed_gives_the_same_orders_and_another_gives_others() -> None:
    some = list(orders(1, 500))
    assert some == list(orders(1, 500))
    assert some[:200] == list(orders(1, 200)), "however many are asked for"
    assert some != list(orders(2, 500))
    assert [order.number for order in some] == list(range(500))


def test_every_function_and_every_way_is_asked_for_in_time() -> None:
    some = list(orders(1, 2000))
    assert Counter(order.function for order in some).keys() == FUNCTIONS.keys()
    assert {order.way for order in some} == set(Way)
    assert any(order.cancel_after is not None for order in some)
    assert any(order.watched for order in some)


async def test_every_order_is_one_that_its_function_takes(tmp_path: Path) -> None:
    catalog = Catalog([SOURCE], tmp_path / "catalog.json")
    await catalog.refresh()
    catalog.close()
    assert catalog.functions.keys() == FUNCTIONS.keys()
    validators = {name: Validator.of(spec) for name, spec in catalog.functions.items()}
    for order in orders(3, 1000):
        if order.function == "chaos_large":
            assert len(order.body) > LARGE
        else:
            validators[order.function].check(json.loads(order.body))


def test_the_results_of_two_orders_are_never_the_same() -> None:
    found = [order.result for order in orders(1, 1000) if order.result]
    assert len(set(found)) == len(found)


def test_json_is_the_same_whatever_its_spacing_and_order() -> None:
    assert digest({"a": 1, "b": 2}) == digest(json.loads('{ "b":2,"a" : 1}'))
    assert digest(b"x") != digest("x")


@given(st.integers(0, 9), st.integers(0, 600))
def test_batches_always_hold_every_order_once_and_of_one_function_each(
    seed: int, count: int
) -> None:
    together = [order for order in orders(seed, count) if order.way is Way.BATCH]
    found = batches(together, seed)
    assert found == batches(together, seed)

    def number(order: Order) -> int:
        return order.number

    assert sorted((o for batch in found for o in batch.orders), key=number) == together
    assert all(len({order.function for order in batch.orders}) == 1 for batch in found)
    assert all(1 <= len(batch.orders) <= SIZE for batch in found)
    assert all(a.number < b.number for a, b in pairwise(found))
