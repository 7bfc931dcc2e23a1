"""The vote: Pyth's aggregation for sources of unequal weight, as compiled loops.

Each source votes three times (value - confidence, value, value + confidence) with its weight. The consensus
is the middle of all votes by weight: the mean of the first vote from below and of the first from above at
which more than half of the weight is passed. The quartiles are the first from below and from above at which
more than a quarter is. With equal weights these are the votes v[n >> 2] and v[n - 1 - (n >> 2)] and the
median of pyth-client's integer rule.

Whoever is doubted moves the consensus less, and widens it as before: the middle goes by the weights that are
left, the quartiles by the declared ones. A doubt would otherwise make the others look more certain than the
sources together are.

References: Pyth Network, "Pyth price aggregation", 2021; pyth-client, upd_aggregate.h.
"""

from app.oracle.records import Records
from app.quant.arrays import FloatArray, IntArray
from app.quant.compiled import compiled_in_place, inlined_in_place

_EVERY, _MIDDLE = 0, 1  # all votes, or each source's middle one


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
        if which == _EVERY or marks[at] & 3 == 1:
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
