"""`retrain.variants` and `retrain.soup`: what fits, what is refused, and what a mixture of some parts is known by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alignery.config.preset import Preset, build
from alignery.config.schema import Mixing, PresetError
from nano.files import HELD_OUT
from prompts import Library

TWO = {"a": {"recipe": "dpo", "beta": 0.3}, "b": {"recipe": "dpo"}}
OF = {"helpful": "a", "harmless": "b"}


def made(retrain: dict[str, Any], **sections: Any) -> Preset:
    whole: dict[str, Any] = {
        "name": "soups",
        "about": "a test",
        "models": {"generator": {"engine": "scripted", "replies": ["yes"]}},
        "line": {"self_instruct": {"accept": 4}},
        "evaluate": {"oracle": "nano", "prompts": str(HELD_OUT)},
        "retrain": retrain,
    }
    return build({name: section for name, section in (whole | sections).items() if section is not None})


def test_a_variant_is_a_recipe_once_more_with_settings_of_its_own() -> None:
    starts = {"a": "engrave", "b": "engrave"}
    retrain = made({"engrave": {}, "dpo": {}, "start_from": starts, "variants": TWO, "soup": {"of": OF}}).retrain
    assert retrain is not None
    assert {name: getattr(config, "beta", None) for name, config in retrain.given().items()} == {
        "engrave": None,
        "dpo": 0.1,
        "a": 0.3,
        "b": 0.1,
    }
    assert [retrain.recipe_of(name) for name in ("a", "dpo")] == ["dpo", "dpo"]
    order = retrain.order()
    assert order.index("engrave") < min(order.index("a"), order.index("b"))
    assert retrain.soup is not None
    assert (retrain.soup.lambdas, retrain.soup.choose, retrain.soup.parts) == (11, "least_gain", {"a", "b"})


@pytest.mark.parametrize(
    ("retrain", "complaint"),
    [
        ({"variants": {"a": {"recipe": "dppo"}}}, r"variants\.a\.recipe: got 'dppo', expected one of"),
        ({"variants": {"dpo": {"recipe": "dpo"}}}, r"variants\.dpo: got a name that is taken"),
        ({"variants": {"soup": {"recipe": "dpo"}}}, r"variants\.soup: got a name that is taken"),
        ({"variants": {"a": {"recipe": "dpo", "betta": 1}}}, r"variants\.a: betta: no such key; .*rename it to beta"),
        ({"variants": {"a": {"recipe": "dpo", "beta": 0}}}, r"variants\.a: beta: got 0, expected"),
        ({"variants": {"a": {"recipe": "dpo", "view": "x"}}}, r"a\.view: got 'x', expected one of"),
        (
            {"variants": TWO, "soup": {"of": {"helpful": "a", "harmless": "c"}}},
            r"soup\.of\.harmless: got 'c', expected",
        ),
        ({"variants": TWO, "soup": {"of": {"helpful": "a", "harmless": "a"}}}, r"soup\.of: got 'a' for both axes"),
        ({"variants": TWO, "soup": {"of": {"helpful": "a"}}}, r"soup\.of: got .*at least 2"),
        ({"variants": TWO, "soup": {"of": OF | {"honest": "a"}}}, r"soup\.of: got .*at most 2"),
        (
            {"variants": TWO, "soup": {"of": OF, "choose": 1.5}},
            r"soup\.choose: got 1\.5, expected a number from 0 to 1",
        ),
        ({"variants": TWO, "soup": {"of": OF, "baseline": "c"}}, r"soup\.baseline: got 'c', expected one of"),
        (
            {"variants": TWO, "engrave": {}, "start_from": {"a": "engrave"}, "soup": {"of": OF}},
            r"soup\.of: got a from engrave and b from base, expected one start for both; correct start_from",
        ),
        (
            {"variants": TWO, "reward": {}, "soup": {"of": {"helpful": "a", "harmless": "reward"}}},
            r"soup\.of\.harmless: got 'reward', whose model answers no instructions",
        ),
        (
            {"variants": TWO, "soup": {"of": {"kind": "a", "harmless": "b"}}},
            r"retrain\.soup\.of: got the axis 'kind', expected one of \['helpful', 'harmless', 'honest'\]",
        ),
    ],
)
def test_a_soup_that_cannot_be_made_is_refused(retrain: dict[str, Any], complaint: str) -> None:
    with pytest.raises(PresetError, match=complaint):
        made(retrain)


def test_a_soup_needs_prompts_to_choose_on_and_a_judge_has_axes_of_its_own() -> None:
    with pytest.raises(PresetError, match=r"retrain\.soup: got one without `evaluate`"):
        made({"variants": TWO, "soup": {"of": OF}}, evaluate=None)
    judged = {"judge": {}, "prompts": str(HELD_OUT)}
    assert made({"variants": TWO, "soup": {"of": OF}}, evaluate=judged).retrain
    with pytest.raises(PresetError, match=r"got the axis 'honest', expected one of \['helpful', 'harmless'\]"):
        made({"variants": TWO, "soup": {"of": {"helpful": "a", "honest": "b"}}}, evaluate=judged)


def test_the_parts_that_are_taken_are_what_a_mixture_is_known_by_and_all_parts_leave_it_as_it_was(
    tmp_path: Path,
) -> None:
    library = Library()
    assert "only" not in Mixing().known_by(library)
    assert Mixing(only=("red",)).known_by(library)["only"] == ["red"]
