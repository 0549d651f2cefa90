"""A price file is strict, and bears a date."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignery.errors import UsageError
from tasks.prices import Price, PriceError, load

GOOD = (
    "date: 2026-05-01\ncurrency: USD\nmodels:\n  generator: {in: 0.15, out: 0.6}\n  big: {in: 1, out: 2, cached: 0}\n"
)


def test_a_price_is_found_by_alias_before_name(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(GOOD)
    prices = load(path)
    assert (prices.date.isoformat(), prices.currency) == ("2026-05-01", "USD")
    assert prices.of("generator", "big", path).tokens_out == 0.6
    assert prices.of("aligner", "big", path).tokens_cached == 0
    with pytest.raises(PriceError, match=r"prices.yaml: models: got \['big', 'generator'\], expected 'aligner' or 'x'"):
        prices.of("aligner", "x", path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("date: 2026-05-01\n", "", "date: got nothing, expected a value; add it"),
        ("2026-05-01", "soon", "date: .*soon"),
        (
            "out: 0.6",
            "put: 0.6",
            r"models.generator.put: no such key; expected one of \['cached', 'in', 'out'\]; rename it to out",
        ),
        ("in: 0.15", "in: -1", "models.generator.in: .*greater than or equal to 0"),
        ("currency: USD", "currency: USD\nper: 1000", "per: no such key"),
        ("models:", "models: [", "not YAML"),
        (GOOD, "7", "the file: got 7, expected a mapping"),
        ("2026-05-01", "20260501", "date: got 20260501, expected a date"),
        ("in: 0.15", "in: true", "models.generator.in: got true or false, expected a number"),
        ("in: 0.15", "in: .inf", "models.generator.in: got inf"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(UsageError, match=message) as raised:
        load(path)
    assert len(str(raised.value).splitlines()) == 1
    assert str(path) in str(raised.value)


def test_a_request_costs_its_tokens_the_cached_ones_at_their_price() -> None:
    price = Price.model_validate({"in": 2, "out": 6, "cached": 0.5})
    assert price.cost(1000, 100, 400) == pytest.approx((600 * 2 + 400 * 0.5 + 100 * 6) / 1e6)
    assert price.cost(1000, 100, None) == pytest.approx((1000 * 2 + 100 * 6) / 1e6)
    assert Price.model_validate({"in": 2, "out": 6}).cost(1000, 0, 400) == pytest.approx(0.002)
