"""The gate's budget of error: how much of it each decision may spend.

A season is the time that one model stays in place: all decisions against it share one budget, so the chance that it is
ever replaced by a model that is no better is at most that budget, however many nights there are. Decision k of a season
has the share

    s / ((s + k - 1) (s + k)),

whose sum over all k is 1 and over the first k is k / (s + k): half is spent after s decisions, and it is never used up.
s = 1 is the classical 1 / (k (k + 1)); a larger s leaves later decisions more and the first ones less. The sum bounds
the season's error whatever the decisions have in common (Bonferroni), and they have the prompts in common. Spending as
in Lan and DeMets (1983); a new budget after each discovery as in Foster and Stine's alpha-investing (2008).
"""

from __future__ import annotations


def level(alpha: float, season: int, number: int) -> float:
    """The error, 0 to 1, that decision `number` (1, 2, …) may make."""
    return alpha * season / ((season + number - 1) * (season + number))


def spent(alpha: float, season: int, number: int) -> float:
    """The error that the decisions up to this one, and it, may make together."""
    return alpha * number / (season + number)
