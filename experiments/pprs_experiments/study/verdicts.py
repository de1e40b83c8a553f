"""Verdicts on methods: an exact signed-rank test, corrected for several comparisons."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from pprs_experiments.study.intervals import Interval, interval
from pprs_experiments.study.statistics import Array, Cells, Unit, as_cells

Word: TypeAlias = Literal["better", "worse", "no difference seen"]
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class RankTest:
    """The result of a signed-rank test.

    Args:
        p: two-sided.
        balance: the ranks of positive differences less those of negative ones, of all: from -1,
            if none is positive, to 1.
        positive: units that speak for more than 0.
        negative: units that speak for less.
        neither: units that speak for neither.
    """

    p: float
    balance: float
    positive: int
    negative: int
    neither: int


@dataclass(frozen=True)
class Verdict:
    """A method against its rival, with the figures.

    Args:
        word: the answer.
        difference: the interquartile mean of the paired differences, with its interval.
        p: of the rank test, two-sided.
        corrected: p, corrected for the number of comparisons.
        balance: of the ranks, see `RankTest`.
        wins: units in which the method is better, of cells by the sum of their signed ranks.
        ties: units in which the two are equal.
        losses: units in which the rival is better.
    """

    word: Word
    difference: Interval
    p: float
    corrected: float
    balance: float
    wins: int
    ties: int
    losses: int


def rank_test(differences: Cells, *, unit: Unit = "seed") -> RankTest:
    r"""Wilcoxon's signed-rank test over all cells, exact for any number of seeds and for ties.

    Differences are ranked by size within each cell, so that no cell counts more for its scale (but
    one with more seeds does); their signs times ranks are added up over cells. If the method is as
    good as its rival, each sign is as likely to be the other: the law of the sum under all $2^N$
    changes of signs is computed, not sampled. Differences of 0 are left out, as Wilcoxon did, and
    equal ones share their mean rank. In one cell this is the ordinary test.

    With cells as units the signs of a cell change together. That heeds what its seeds share, such
    as luck in tuning, if it is as likely to favour either, and cells are independent.

    The least p that n units can give is $2^{1-n}$: with 10 seeds in one cell 0.002, so that no
    difference can be seen among more than 25 comparisons at 5 %; with 6 cells 0.03.

    Args:
        differences: for each cell those of its seeds; may be infinite.
        unit: whose signs change together.

    Raises:
        ValueError: for fewer than two seeds, or NaN.

    Example:
        >>> rank_test([[0.3, 0.1, 0.2, 0.5, 0.4]])
        RankTest(p=0.0625, balance=1.0, positive=5, negative=0, neither=0)
    """
    cells = as_cells(differences, "differences")
    signed = [_signed_ranks(cell) for cell in cells]
    total = sum(int(np.abs(ranks).sum()) for ranks in signed)
    units = np.array([c.sum() for c in signed]) if unit == "cell" else np.concatenate(signed)
    seen = int(units.sum())
    signs = [int((np.sign(units) == sign).sum()) for sign in (1, -1, 0)]
    return RankTest(_two_sided(np.abs(units), seen), seen / total if total else 0.0, *signs)


def _signed_ranks(differences: Array) -> NDArray[np.int64]:
    """Twice the ranks, so that mean ranks are whole, with the signs; 0 where there is none."""
    from scipy.stats import rankdata

    signed = np.zeros(differences.shape[0], np.int64)
    there = differences != 0
    ranks = np.rint(2 * rankdata(np.abs(differences[there]))).astype(np.int64)
    signed[there] = np.where(differences[there] > 0, ranks, -ranks)
    return signed


def _two_sided(units: NDArray[np.int64], seen: int) -> float:
    """How likely a sum of whole numbers with random signs is as far from 0 as the one seen."""
    total = int(units.sum())
    law = np.zeros(total + 1)  # of the sum of those with a plus
    law[0] = 1.0
    for unit in units[units > 0].tolist():
        law = 0.5 * (law + np.concatenate([np.zeros(unit), law[:-unit]]))
    extreme = np.abs(2 * np.arange(total + 1) - total) >= abs(seen)
    return min(1.0, float(law[extreme].sum()))


def holm(p: Sequence[float]) -> list[float]:
    """P-values corrected by Holm's rule: the chance that any of them errs is kept.

    Args:
        p: of all comparisons made, each from 0 to 1; they may depend on each other.

    Returns:
        The corrected ones, in the same order.

    Raises:
        ValueError: for a number out of range.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    for value in p:
        if not 0 <= value <= 1:
            raise ValueError(f"p must be from 0 to 1, got {value!r}")
    corrected, least = [1.0] * len(p), 0.0
    for done, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        least = max(least, min(1.0, (len(p) - done) * p[i]))
        corrected[i] = least
    return corrected


def verdicts(
    comparisons: Mapping[Key, Cells],
    *,
    better: Literal["higher", "lower"],
    alpha: float = 0.05,
    draws: int = 4000,
    unit: Unit = "seed",
    seed: int = 0,
) -> dict[Key, Verdict]:
    """A verdict on each of several comparisons, corrected for their number.

    A difference is seen where the corrected p is at most alpha and the interval of the difference
    lies on the same side of 0 as the ranks. So where no method differs from its rival, any is said
    to with a chance of at most alpha. The intervals themselves are not corrected.

    Args:
        comparisons: the paired differences, method less rival, of all comparisons made.
        better: which outcomes are better, higher or lower ones.
        alpha: above 0 and below 1.
        draws: of the bootstrap, at least 1.
        unit: that is drawn by itself, see `rank_test` and `interval`.
        seed: of the bootstrap.

    Raises:
        ValueError: as `rank_test` and `interval`, or for another `better`.

    Example:
        >>> made = {"Adam": [[0.1, 0.2, 0.15, 0.3, 0.12, 0.22, 0.18, 0.25]]}
        >>> verdicts(made, better="higher")["Adam"].word
        'better'
    """
    if better not in ("higher", "lower"):
        raise ValueError(f"better must be 'higher' or 'lower', got {better!r}")
    sign = 1 if better == "higher" else -1
    cells = {key: as_cells(each, f"comparisons[{key!r}]") for key, each in comparisons.items()}
    tests = {key: rank_test(each, unit=unit) for key, each in cells.items()}
    corrected = holm([test.p for test in tests.values()])
    found = {}
    for (key, test), p in zip(tests.items(), corrected, strict=True):
        difference = interval(cells[key], level=1 - alpha, draws=draws, unit=unit, seed=seed)
        found[key] = _verdict(test, p, difference, sign, alpha)
    return found


def verdict(
    differences: Cells,
    *,
    better: Literal["higher", "lower"],
    alpha: float = 0.05,
    draws: int = 4000,
    unit: Unit = "seed",
    seed: int = 0,
) -> Verdict:
    """The verdict on a comparison that is the only one made; see `verdicts`."""
    (found,) = verdicts(
        {"": differences},
        better=better,
        alpha=alpha,
        draws=draws,
        unit=unit,
        seed=seed,
    ).values()
    return found


def _verdict(
    test: RankTest, corrected: float, difference: Interval, sign: int, alpha: float
) -> Verdict:
    better, worse = (test.positive, test.negative)[::sign]
    return Verdict(
        word=_word(test, corrected, difference, sign, alpha),
        difference=difference,
        p=test.p,
        corrected=corrected,
        balance=test.balance,
        wins=better,
        ties=test.neither,
        losses=worse,
    )


def _word(test: RankTest, corrected: float, difference: Interval, sign: int, alpha: float) -> Word:
    side = int(difference.low > 0) - int(difference.high < 0)  # of 0 that the interval is on
    if corrected > alpha or side * test.balance <= 0:
        return "no difference seen"
    return "better" if side == sign else "worse"
