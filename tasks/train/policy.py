"""When a published tag trains a model: where enough is new, and sound enough. Decided from counts, in sentences."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field


class Policy(BaseModel):
    """What a tag must bring since the last one that trained a model. The figures are our choice."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    new_accepted: int = Field(default=500, ge=1)  # new rows of sft and preferences, at least
    reject_rate: float = Field(default=0.5, ge=0, le=1)  # of all finished work, at most
    duplicate_rate: float = Field(default=0.5, ge=0, le=1)  # near-duplicates among the candidates, at most


@dataclass(frozen=True)
class Decision:
    """Whether to train, and why: a sentence for the whole, then one for each figure."""

    retrain: bool
    reasons: tuple[str, ...]


def decide(policy: Policy, accepted: int, reject_rate: float, duplicate_rate: float, since: str | None) -> Decision:
    """Hold a tag's figures against the policy.

    Args:
        accepted: new rows since the tag `since`, or (None) all there are.
        reject_rate: share of the finished work that was not accepted, 0 to 1.
        duplicate_rate: share of the candidates that were near-duplicates, 0 to 1.
    """
    place = "and no model was trained on an earlier tag"
    if since:
        place = f"since {since}, the last tag that trained a model"
    rows = f"{accepted} new accepted rows {place}"
    few = accepted < policy.new_accepted
    figures = [
        (few, f"{rows}; retrain_when.new_accepted asks for {policy.new_accepted}"),
        _share("rejected", reject_rate, policy.reject_rate, "reject_rate"),
        _share("near-duplicates", duplicate_rate, policy.duplicate_rate, "duplicate_rate"),
    ]
    against = [text for fails, text in figures if fails]
    whole = "held back: " + "; ".join(against) if against else f"retrain: {rows}"
    return Decision(not against, (whole, *(text for _, text in figures)))


def _share(what: str, share: float, limit: float, field: str) -> tuple[bool, str]:
    return share > limit, f"{share:.1%} {what}; retrain_when.{field} allows {limit:.0%}"
