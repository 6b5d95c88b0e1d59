"""What the peers compute is what Lumbre's functions compute beside them."""

import sys

import pytest

from loadtest.budgets.peers.work import Product, checksum, echo
from loadtest.budgets.server import FUNCTIONS


def test_an_echo_is_what_it_was() -> None:
    assert echo({"x": [1, "é"]}) == {"x": [1, "é"]}


def test_both_products_are_the_same_and_add_up_to_what_they_should(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(FUNCTIONS))
    sys.modules.pop("checksum", None)
    from checksum import Checksum  # type: ignore[import-not-found]

    ours = Checksum()
    ours.setup(None)
    theirs = Product()
    for x in (1.0, 2.5):
        assert ours(x) == theirs({"x": x})
        assert theirs({"x": x})["checksum"] == pytest.approx(checksum(x), rel=1e-4)
