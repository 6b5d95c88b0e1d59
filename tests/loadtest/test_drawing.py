"""How figures are drawn."""

import io

import matplotlib
from matplotlib.figure import Figure

from loadtest.drawing import drawing


def test_a_name_of_any_script_with_dollar_signs_is_drawn_as_it_is() -> None:
    with drawing({"font.size": 7.0}):
        figure = Figure()
        text = figure.text(0, 0, "$x$ 関数")
        figure.savefig(io.BytesIO(), format="png")  # a warning would be an error here
        assert not text.get_parse_math() and text.get_fontsize() == 7.0


def test_nothing_of_it_is_left_behind() -> None:
    before = dict(matplotlib.rcParams)
    with drawing({"font.size": 7.0}):
        assert matplotlib.rcParams["font.size"] == 7.0
    assert dict(matplotlib.rcParams) == before
