"""Agreement beyond chance, against arithmetic done by hand."""

from __future__ import annotations

import pytest

from tasks.review.agreement import cohen_kappa, kappa_interval, krippendorff_alpha, majority


def test_kappa_of_two_people():
    # 50 things: both yes 20, both no 15, yes/no 5, no/yes 10. Alike 0.7; by chance 0.5 * 0.6 + 0.5 * 0.4 = 0.5.
    verdicts = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    assert cohen_kappa(verdicts) == pytest.approx((0.7 - 0.5) / (1 - 0.5))
    assert cohen_kappa([("y", "n"), ("n", "y")]) == pytest.approx(-1)
    assert cohen_kappa([("y", "y")] * 3) is None
    assert cohen_kappa([]) is None


def test_kappas_interval_is_as_wide_as_its_standard_error_says():
    verdicts = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    low, high = kappa_interval(verdicts, ("y", "n", "tie"))
    assert low < 0.4 < high
    assert high - low == pytest.approx(2 * 1.96 * 0.13, rel=0.1)  # near .13 (Fleiss, Cohen and Everitt 1969)
    low, high = kappa_interval([("y", "y"), ("n", "n")] * 10, ("y", "n", "tie"))
    assert 0.5 < low < 0.95, "who always agreed is not known to agree always"
    assert kappa_interval([("y", "y")] * 20, ("y", "n", "tie"))[0] < 0.1


def test_alpha_of_two_people_is_what_its_coincidences_say():
    # yy, nn, yn: coincidences o_yn = o_ny = 1, n_y = n_n = 3, n = 6. D_o = 2/6, D_e = 18/30.
    assert krippendorff_alpha([("y", "y"), ("n", "n"), ("y", "n")]) == pytest.approx(1 - (2 / 6) / (18 / 30))


def test_alpha_takes_any_number_of_people_and_leaves_out_what_one_marked():
    # aab: 4 unlike ordered pairs over 3 - 1 is 2; bb: 0. n_a = 2, n_b = 3, n = 5: D_o = 2/5, D_e = 12/20.
    units = [("a", "a", "b"), ("b", "b"), ("c",)]
    assert krippendorff_alpha(units) == pytest.approx(1 - (2 / 5) / (12 / 20))
    assert krippendorff_alpha([("a", "a"), ("b", "b")]) == 1
    assert krippendorff_alpha([("a",), ("b",)]) is None
    assert krippendorff_alpha([("a", "a"), ("a", "a")]) is None
    assert krippendorff_alpha([]) is None


def test_most_people():
    assert majority(["first", "second", "first"]) == "first"
    assert majority(["first", "second"]) == "tie"
    assert majority(["second"]) == "second"
