import json
import math
import warnings
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betainc

from rearank_agent.errors import InputError
from rearank_evals.measures.stats import ENOUGH, Comparison, Macro, compare, holm, interval, macro

# As nDCG and RR come: many exact 0s, 1s and repeats.
measured = st.sampled_from([0, 0, 1, 1, 0.5, 1 / 3, 0.25, 0.7]) | st.floats(0, 1, width=16)
few = settings(max_examples=20)


def queries(values):
    return {f"q{i}": value for i, value in enumerate(values)}


@st.composite
def tables(draw):
    n = draw(st.integers(1, 12))
    row = st.lists(measured, min_size=n, max_size=n)
    return {system: queries(draw(row)) for system in ("base", "a", "b", "c")}


# --- intervals


def test_an_interval_of_two_values_is_all_that_can_be_drawn():
    assert interval([0, 1]) == (0, 1)


def test_an_interval_is_near_the_normal_one_where_values_are_many_and_even():
    values = [i / 999 for i in range(1000)]
    error = math.sqrt(sum((v - 0.5) ** 2 for v in values) / 999 / 1000)
    assert interval(values) == pytest.approx((0.5 - 1.96 * error, 0.5 + 1.96 * error), abs=2e-3)


def test_an_interval_leans_to_the_long_tail():
    low, high = interval([0] * 18 + [1] * 2)
    assert high - 0.1 > 1.5 * (0.1 - low)


def test_rounding_does_not_move_an_interval():
    values = [0, 0, 0, 0, 1, 1, 0]
    assert interval([v + 0.1 - 0.1 / 3 for v in values]) == pytest.approx(
        [end + 0.2 / 3 for end in interval(values)]
    )


@pytest.mark.parametrize("values", [[0.3], [0.1, 0.1, 0.1], [0.0, 0.0], [1, 1, 1, 1]])
def test_without_spread_an_interval_is_the_mean(values):
    assert interval(values) == pytest.approx((values[0], values[0]), abs=1e-15)


@few
@given(st.lists(measured, min_size=1, max_size=40), st.randoms())
def test_an_interval_is_finite_holds_the_mean_and_knows_no_order(values, rng):
    low, high = interval(values)
    mean = sum(values) / len(values)
    assert min(values) - 1e-9 <= low <= mean + 1e-9
    assert mean - 1e-9 <= high <= max(values) + 1e-9
    assert interval(rng.sample(values, len(values))) == (low, high)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_no_numbers_are_refused_by_name(bad):
    with pytest.raises(InputError, match=f"the value of query 2 must be finite: {bad}"):
        interval([0.5, bad])
    table = {"base": {"q": 0.5}, "a": {"q": bad}}
    with pytest.raises(InputError, match=f"a: the value of query q must be finite: {bad}"):
        compare(table, "base")
    twice = {system: {"dl19": of, "dl20": of} for system, of in table.items()}
    with pytest.raises(InputError, match=f"a in dl19: the value of query q must be .* {bad}"):
        macro(twice, "base")


# --- comparisons


def test_a_comparison_in_whole():
    ours, base = [0.9, 0.5, 0.4, 0.7, 0.2], [0.4, 0.5, 0.5, 0.4, 0.1]
    differences = [0.5, 0.0, -0.1, 0.3, 0.1]
    mean = 0.8 / 5
    t = mean / math.sqrt(sum((d - mean) ** 2 for d in differences) / 4 / 5)
    p = betainc(2, 0.5, 4 / (4 + t * t))  # both tails of Student's t with 4 degrees of freedom
    result = compare({"base": queries(base), "a": queries(ours)}, "base")
    assert result == {
        "a": Comparison(
            n=5,
            difference=pytest.approx(mean),
            interval=pytest.approx(interval(differences)),
            p=pytest.approx(p),
            p_holm=pytest.approx(p),
            wins=3,
            ties=1,
            losses=1,
            small=True,
        )
    }


def test_a_comparison_goes_into_json_as_it_is():
    got = compare({"base": queries([0, 1]), "a": queries([1, 1])}, "base")["a"]
    assert json.loads(json.dumps(asdict(got))) == {
        "n": 2,
        "difference": 0.5,
        "interval": [0, 1],
        "p": pytest.approx(0.5),
        "p_holm": pytest.approx(0.5),
        "wins": 1,
        "ties": 1,
        "losses": 0,
        "small": True,
    }


def test_equal_systems():
    values = queries([0.1, 0.9, 0.3])
    nearly = queries([0.1, 0.9 + 1e-12, 0.3])
    got = compare({"base": values, "a": dict(values), "b": nearly}, "base")
    assert got["a"] == Comparison(3, 0.0, (0.0, 0.0), 1.0, 1.0, 0, 3, 0, True)
    assert (got["b"].p, got["b"].ties) == (1.0, 3)


@pytest.mark.parametrize(("n", "p"), [(1, 1), (2, 0.5), (3, 0.25), (11, 1 / 1024)])
@pytest.mark.parametrize("step", [0.1, -0.1])
def test_where_all_differences_are_one_number_signs_are_counted(n, p, step):
    base = [0.2 + i / 20 for i in range(n)]  # steps that binary fractions do not hold exactly
    got = compare({"base": queries(base), "a": queries([v + step for v in base])}, "base")["a"]
    near = pytest.approx(step)
    wins, losses = (n, 0) if step > 0 else (0, n)
    assert got == Comparison(n, near, (near, near), p, p, wins, 0, losses, True)


def test_small_is_below_enough():
    def small(n):
        base = queries([0.5] * n)
        return compare({"base": base, "a": base}, "base")["a"].small

    assert [small(ENOUGH - 1), small(ENOUGH)] == [True, False]


def test_only_a_baseline_has_nothing_against_it():
    assert compare({"base": {"q": 1.0}}, "base") == {}


@few
@given(tables())
def test_what_holds_of_all_comparisons(table):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = compare(table, "base")
    assert list(got) == ["a", "b", "c"]
    for one in got.values():
        assert one.n == one.wins + one.ties + one.losses
        assert 0 <= one.p <= one.p_holm <= 1
        assert one.interval[0] - 1e-9 <= one.difference <= one.interval[1] + 1e-9
    by_p = sorted(got.values(), key=lambda one: one.p)
    assert [one.p_holm for one in by_p] == sorted(one.p_holm for one in by_p)
    backwards = {s: dict(reversed(of.items())) for s, of in reversed(table.items())}
    assert compare(backwards, "base") == got


@few
@given(tables())
def test_seen_from_the_other_side_wins_are_losses(table):
    there = compare({"base": table["base"], "a": table["a"]}, "base")["a"]
    back = compare({"base": table["base"], "a": table["a"]}, "a")["base"]
    assert (back.wins, back.ties, back.losses) == (there.losses, there.ties, there.wins)
    assert back.difference == -there.difference
    assert back.p == pytest.approx(there.p)


@few
@given(tables(), st.sampled_from([-0.5, 0.25, 1, 2]))
def test_what_all_systems_gain_alike_changes_nothing(table, gain):
    moved = {s: {q: v + gain for q, v in of.items()} for s, of in table.items()}
    for system, one in compare(table, "base").items():
        other = asdict(compare(moved, "base")[system])
        for name, value in asdict(one).items():
            assert other[name] == pytest.approx(value, abs=1e-6), name


# --- Holm


def test_holm_by_hand():
    # m = 4: .005 x 4, .01 x 3, .03 x 2, and .04 x 1, lifted to the .06 before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9, 0.02]) == pytest.approx([1, 1, 0.06])
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_p_is_corrected_over_the_systems():
    base = queries([0.1, 0.2, 0.3, 0.4])
    better = queries([0.6, 0.8, 0.8, 1.0])
    worse = queries([0.1, 0.1, 0.4, 0.2])
    alone = compare({"base": base, "a": better}, "base")["a"]
    both = compare({"base": base, "a": better, "b": worse}, "base")
    assert (both["a"].p, both["a"].p_holm) == (alone.p, 2 * alone.p)
    assert both["b"].p_holm == both["b"].p


# --- over collections


def test_macro_in_whole():
    base = {"large": queries([0.0] * 8), "one": {"q": 0.2}, "two": {"x": 0.1, "y": 0.1}}
    ours = {"large": queries([0.3] * 8), "one": {"q": 0.9}, "two": {"x": 0.0, "y": 1.0}}
    got = macro({"base": base, "a": ours}, "base")
    # Collections weigh alike; only "two" can come out otherwise, between 0 and 1.
    assert got == {
        "base": Macro(pytest.approx(0.1), pytest.approx((0.1, 0.1)), None, None),
        "a": Macro(
            value=pytest.approx(1.7 / 3),
            interval=pytest.approx((1.2 / 3, 2.2 / 3)),
            difference=pytest.approx(1.4 / 3),
            difference_interval=pytest.approx((0.9 / 3, 1.9 / 3)),
        ),
    }


def test_macro_resamples_within_collections():
    # Between the two collections lies 0.8; within them little, which is all that may count.
    close = {
        "hard": queries([0.1 + i / 500 for i in range(10)]),
        "easy": queries([0.9 + i / 500 for i in range(10)]),
    }
    low, high = macro({"base": close}, "base")["base"].interval
    spread = math.sqrt(2 * sum((i - 4.5) ** 2 for i in range(10)) / 10 / 10) / 500 / 2
    assert high - low == pytest.approx(2 * 1.96 * spread, rel=0.05)


def test_macro_of_one_collection_says_nothing():
    assert macro({"base": {"dl19": {"q": 1.0}}, "a": {"dl19": {"q": 0.0}}}, "base") == {}


@few
@given(tables(), tables())
def test_macro_is_finite_holds_its_value_and_knows_no_order(left, right):
    table = {s: {"left": left[s], "right": right[s]} for s in left}
    got = macro(table, "base")
    for system, one in got.items():
        assert one.interval[0] - 1e-9 <= one.value <= one.interval[1] + 1e-9
        if system != "base":
            assert one.difference == pytest.approx(one.value - got["base"].value, abs=1e-9)
            low, high = one.difference_interval
            assert low - 1e-9 <= one.difference <= high + 1e-9
    backwards = {s: dict(reversed(of.items())) for s, of in reversed(table.items())}
    assert macro(backwards, "base") == got


# --- what cannot be compared


def test_other_queries_are_named():
    table = {"base": {"q1": 1.0, "q2": 1.0}, "a": {"q1": 1.0, "q3": 1.0}}
    message = (
        "a and base were not measured on the same queries: only one has q2, q3;"
        " evaluate both on the same"
    )
    with pytest.raises(InputError) as caught:
        compare(table, "base")
    assert str(caught.value) == message
    with pytest.raises(InputError) as caught:
        macro({s: {"dl19": of, "dl20": {"q": 1.0}} for s, of in table.items()}, "base")
    assert str(caught.value) == message.replace("queries", "queries in dl19")


def test_of_many_other_queries_five_are_named():
    table = {"base": queries([1.0] * 9), "a": queries([1.0])}
    with pytest.raises(InputError, match="only one has q1, q2, q3, q4, q5 and 3 more;"):
        compare(table, "base")


def test_other_collections_are_named():
    table = {"base": {"dl19": {"q": 1.0}, "dl20": {"q": 1.0}}, "a": {"dl19": {"q": 1.0}}}
    with pytest.raises(InputError, match="on the same collections: only one has dl20;"):
        macro(table, "base")


@pytest.mark.parametrize("compare", [compare, macro])
def test_a_baseline_must_be_there(compare):
    with pytest.raises(InputError, match="no system is called 'x'; there are: a, b"):
        compare({"a": {}, "b": {}}, "x")


def test_nothing_has_no_mean():
    with pytest.raises(InputError, match="the values: there is no query to take a mean over"):
        interval([])
    with pytest.raises(InputError, match="base: there is no query to take a mean over"):
        compare({"base": {}, "a": {}}, "base")
