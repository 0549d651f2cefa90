"""How far people agree with each other, beyond chance.

Sources: Cohen, "A Coefficient of Agreement for Nominal Scales" (1960), for two people; Krippendorff, "Computing
Krippendorff's Alpha-Reliability" (2011), for any number of them and with things that some did not mark. Both are 1
where all agree, 0 where they agree as often as chance would have it, and below where less often.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

_DRAWS = 10_000


def cohen_kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Cohen's kappa of two people's verdicts on the same things, (observed - chance) / (1 - chance).

    None where there is no thing, or where each gave one verdict throughout: chance then explains everything.
    """
    if not pairs:
        return None
    observed = sum(one == other for one, other in pairs) / len(pairs)
    mine, yours = (Counter(pair[side] for pair in pairs) for side in (0, 1))
    chance = sum(mine[verdict] * yours[verdict] for verdict in mine) / len(pairs) ** 2
    return None if chance == 1 else (observed - chance) / (1 - chance)


def kappa_interval(pairs: Sequence[tuple[str, str]], verdicts: Sequence[str], seed: int = 0) -> tuple[float, float]:
    """Kappa's 95 % interval: 10,000 draws from the posterior of the table of verdicts, under a Dirichlet prior worth
    one pair, shared by its cells (Perks 1947); a bootstrap of a judge that always agreed would have no width.

    Args:
        pairs: as `cohen_kappa` takes them.
        verdicts: all that there may be.
    """
    table = np.zeros((len(verdicts), len(verdicts)))
    for one, other in pairs:
        table[verdicts.index(one), verdicts.index(other)] += 1
    shares = np.random.default_rng(seed).dirichlet(table.ravel() + 1 / table.size, _DRAWS).reshape(-1, *table.shape)
    agreed = np.trace(shares, axis1=1, axis2=2)
    chance = (shares.sum(axis=1) * shares.sum(axis=2)).sum(axis=1)
    kappas = np.divide(agreed - chance, 1 - chance, out=np.zeros_like(agreed), where=chance < 1)
    low, high = np.percentile(kappas, [2.5, 97.5])
    return float(low), float(high)


def krippendorff_alpha(units: Iterable[Sequence[str]]) -> float | None:
    """Krippendorff's alpha of nominal verdicts, 1 - observed / expected disagreement.

    Args:
        units: the verdicts of each thing, one a person; things with fewer than two say nothing.

    Returns:
        None where nothing was marked twice, or all verdicts are the same.
    """
    counted = [Counter(unit) for unit in units if len(unit) > 1]
    total = Counter[str]()
    for unit in counted:
        total.update(unit)
    size = total.total()
    observed = sum(_unlike(unit) / (unit.total() - 1) for unit in counted)
    expected = _unlike(total) / (size - 1) if size > 1 else 0.0
    return 1 - observed / expected if expected else None


def _unlike(counts: Counter[str]) -> int:
    """Ordered pairs of unlike verdicts."""
    return counts.total() ** 2 - sum(count**2 for count in counts.values())


def majority(verdicts: Iterable[str]) -> str:
    """The majority's verdict on a pair; a tie if no verdict leads."""
    (first, most), *rest = Counter(verdicts).most_common()
    return "tie" if rest and rest[0][1] == most else first
