"""Axes: round numbers above the values, and each value where it belongs."""

from itertools import pairwise

import pytest

from lloco.report.axis import linear_axis, log_axis, number_text, suitable_axis, symlog_axis


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([82.0, 3.0], (0, 20, 40, 60, 80, 100)),
        ([100.0], (0, 20, 40, 60, 80, 100)),
        ([0.11], pytest.approx((0, 0.05, 0.1, 0.15))),
        ([], pytest.approx((0, 0.2, 0.4, 0.6, 0.8, 1))),
        ([0.0], pytest.approx((0, 0.2, 0.4, 0.6, 0.8, 1))),
        ([1234.0], (0, 500, 1000, 1500)),
    ],
)
def test_a_linear_axis_ends_at_a_round_number_above_all_values(values: list[float], ticks: tuple[float, ...]) -> None:
    axis = linear_axis("score", values)
    assert axis.ticks == ticks
    assert axis.low == 0 and axis.high == pytest.approx(axis.ticks[-1]) and axis.high >= max(values, default=0)


def test_a_log_axis_names_few_values_and_round_numbers_between_many() -> None:
    few = log_axis("context tokens", [4096, 1024, 2048, 1024])
    assert few.ticks == (1024, 2048, 4096)
    shares = [few.share(tick) for tick in few.ticks]
    assert shares[1] - shares[0] == pytest.approx(shares[2] - shares[1], abs=0.02)
    assert 0 < shares[0] < 10 and 90 < shares[2] < 100
    many = log_axis("ms", [0.3, 1.1, 2, 5, 40, 70, 900, 5000])
    assert all(many.low <= tick <= many.high for tick in many.ticks) and 3 <= len(many.ticks) <= 6
    alone = log_axis("clients", [4])
    assert alone.ticks == (4,) and alone.share(4) == pytest.approx(50)


@pytest.mark.parametrize("values", [[600, 650, 700, 750, 800, 850], [6, 6.5, 7, 7.5, 8, 8.5]])
def test_a_log_axis_between_round_numbers_names_its_ends(values: list[float]) -> None:
    axis = log_axis("document tokens", values)
    assert len(axis.ticks) == 2
    assert all(axis.low <= tick <= axis.high for tick in axis.ticks)


def test_an_axis_of_tokens_has_room_for_none_and_for_thousands() -> None:
    axis = symlog_axis("tokens", [0, 19, 2000])
    assert axis.ticks == (0, 10, 100, 1000)
    shares = [axis.share(tick) for tick in axis.ticks]
    assert shares[0] == 0
    assert {round(b - a, 1) for a, b in pairwise(shares)} == {round(shares[1], 1)}


def test_values_outside_stand_at_the_end() -> None:
    axis = linear_axis("score", [100])
    assert (axis.share(-5), axis.share(50), axis.share(107)) == (0, 50, 100)


def test_only_values_of_very_different_size_get_a_log_axis() -> None:
    assert suitable_axis("ms", [10, 299]).kind == "linear"
    assert suitable_axis("ms", [10, 300]).kind == "log"
    assert suitable_axis("ms", [0, 300]).kind == "linear"
    assert suitable_axis("ms", []).kind == "linear"


def test_numbers_are_written_short() -> None:
    assert [number_text(item) for item in (0, 16384, 1234.5, 0.333333, 15.0)] == ["0", "16,384", "1,234", "0.333", "15"]
