"""The vote: Pyth's aggregation for sources of unequal weight, as compiled loops.

Each source votes three times (value - confidence, value, value + confidence) with its weight. The consensus
is the middle of all votes by weight: the mean of the first vote from below and of the first from above at
which more than half of the weight is passed. The quartiles are the first from below and from above at which
more than a quarter is. With equal weights these are the votes v[n >> 2] and v[n - 1 - (n >> 2)] and the
median of pyth-client's integer rule: there a few are looked up, and nothing is weighed.

Whoever is doubted moves the consensus less, and widens it as before: the middle goes by the weights that are
left, the quartiles by the declared ones. A doubt would otherwise make the others look more certain than the
sources together are.

References: Pyth Network, "Pyth price aggregation", 2021; pyth-client, upd_aggregate.h.
"""

import numpy as np

from app.oracle.records import Records
from app.quant.arrays import FloatArray, IntArray
from app.quant.compiled import compiled_in_place, inlined_in_place

_LOWEST, _MIDDLE, _HIGHEST, _EVERY = range(4)  # votes of a source, or all of them
_FEW = 32
"""Voters that are put in order by insertion; of more it would take longer than Shell's way."""


@inlined_in_place
def sort(votes: FloatArray, marks: IntArray, count: int) -> None:
    """Shell's, which needs no room and does not mind a thousand sources. Ties may stand in any order."""
    gap = 1
    while gap < count // 3:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, count):
            vote, mark, j = votes[i], marks[i], i
            while j >= gap and votes[j - gap] > vote:
                votes[j], marks[j] = votes[j - gap], marks[j - gap]
                j -= gap
            votes[j], marks[j] = vote, mark
        gap //= 3


@inlined_in_place
def _passes(
    votes: FloatArray,
    marks: IntArray,
    voters: Records,
    count: int,
    share: int,
    from_above: bool,
    declared: bool,
    which: int,
) -> float:
    """The first vote, from one end, at which four times the weight passed is more than `share`."""
    passed = 0
    for i in range(count):
        at = count - 1 - i if from_above else i
        if which == _EVERY or marks[at] & 3 == which:
            voter = voters[marks[at] >> 2]
            passed += voter.declared if declared else voter.weight
            if 4 * passed > share:
                return float(votes[at])
    return float(votes[0])


@inlined_in_place
def polled(voters: Records, count: int, votes: FloatArray, marks: IntArray) -> tuple[float, float, float]:
    """(value, confidence, dispersion) of at least one voter; a single one is taken at its word."""
    if count == 1:
        return voters[0].value, voters[0].confidence, 0.0
    if count <= _FEW and _are_equal(voters, count):
        return _counted(voters, count, votes)
    return _weighed(voters, count, votes, marks)


@inlined_in_place
def _are_equal(voters: Records, count: int) -> bool:
    weight, equal = voters[0].declared, True
    for i in range(count):
        equal &= (voters[i].weight == weight) & (voters[i].declared == weight)
    return equal


@inlined_in_place
def _counted(voters: Records, count: int, votes: FloatArray) -> tuple[float, float, float]:
    """Of equal weights: lowest, middle and highest votes in order, one after the other, then merged as far as
    the upper quartile.

    All three are put into the order of the middle ones first, which is nearly that of the others.
    """
    for i in range(count):
        value, confidence, j = voters[i].value, voters[i].confidence, i
        while j > 0 and votes[count + j - 1] > value:
            votes[count + j], votes[j] = votes[count + j - 1], votes[j - 1]
            j -= 1
        votes[count + j], votes[j] = value, confidence
    for i in range(count):
        value, confidence = votes[count + i], votes[i]
        votes[i], votes[2 * count + i] = value - confidence, value + confidence
    _insert(votes, 0, count)
    _insert(votes, 2 * count, 3 * count)
    quartile, half, last = 3 * count >> 2, 3 * count >> 1, 3 * count - 1
    low, below, above, high = 0.0, 0.0, 0.0, 0.0
    lowest, middle, highest = 0, count, 2 * count
    for i in range(last - quartile + 1):
        high, taken = np.inf, _LOWEST
        if lowest < count:
            high = votes[lowest]
        if middle < 2 * count and votes[middle] < high:
            high, taken = votes[middle], _MIDDLE
        if highest <= last and votes[highest] < high:
            high, taken = votes[highest], _HIGHEST
        lowest += taken == _LOWEST
        middle += taken == _MIDDLE
        highest += taken == _HIGHEST
        low = high if i == quartile else low
        below = high if i == last - half else below
        above = high if i == half else above
    dispersion = votes[2 * count - 1 - (count >> 2)] - votes[count + (count >> 2)]
    center = 0.5 * (below + above)
    return center, max(center - low, high - center), dispersion


@inlined_in_place
def _insert(votes: FloatArray, first: int, stop: int) -> None:
    for i in range(first + 1, stop):
        vote, j = votes[i], i
        while j > first and votes[j - 1] > vote:
            votes[j] = votes[j - 1]
            j -= 1
        votes[j] = vote


@inlined_in_place
def _weighed(voters: Records, count: int, votes: FloatArray, marks: IntArray) -> tuple[float, float, float]:
    for i in range(count):
        value, confidence = voters[i].value, voters[i].confidence
        votes[3 * i], votes[3 * i + 1], votes[3 * i + 2] = value - confidence, value, value + confidence
        for k in range(3):
            marks[3 * i + k] = 4 * i + k  # whose vote, and which of the three
    n, weight, declared = 3 * count, 0, 0
    for i in range(count):
        weight += voters[i].weight
        declared += voters[i].declared
    sort(votes, marks, n)
    middle = 0.5 * (
        _passes(votes, marks, voters, n, 6 * weight, False, False, _EVERY)
        + _passes(votes, marks, voters, n, 6 * weight, True, False, _EVERY)
    )
    low = _passes(votes, marks, voters, n, 3 * declared, False, True, _EVERY)
    high = _passes(votes, marks, voters, n, 3 * declared, True, True, _EVERY)
    lower = _passes(votes, marks, voters, n, declared, False, True, _MIDDLE)
    upper = _passes(votes, marks, voters, n, declared, True, True, _MIDDLE)
    return middle, max(middle - low, high - middle), upper - lower


@compiled_in_place
def poll(voters: Records, count: int, votes: FloatArray, marks: IntArray) -> tuple[float, float, float]:
    """(value, confidence, dispersion) of `count` voters; `votes` and `marks` have room for three of each.

    The dispersion is the distance between the quartiles of the sources' values alone.
    """
    return polled(voters, count, votes, marks)
