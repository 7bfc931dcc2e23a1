"""Who is doubted: outside of the tolerance, of what the others do, or of what a price does in that time."""

from math import log, sqrt

from app.oracle.records import NOBODY, Record, Records
from app.oracle.votes import sort
from app.quant.arrays import FloatArray, IntArray
from app.quant.compiled import inlined_in_place

MAXIMUM_DOUBT = 4
"""The weight is a sixteenth then."""
RECOVERY_NS = 60_000_000_000
"""Of votes within the tolerance: then a doubt is taken back by one halving."""
MAD_MULTIPLE = 5.0 * 1.4826
"""Of the median absolute deviation: five standard deviations where deviations are normal."""
JUMP_VOLATILITIES = 6.0
SAMPLE_SECONDS = 1.0
"""Volatility is sampled at least so far apart."""
LEAST_SAMPLES = 20


@inlined_in_place
def _deviation_limit(voters: Records, count: int, votes: FloatArray, marks: IntArray) -> float:
    for i in range(count):
        votes[i], marks[i] = voters[i].deviation, i
    sort(votes, marks, count)
    return MAD_MULTIPLE * float(votes[count >> 1])


@inlined_in_place
def _jumped(place: Record, variance: float) -> bool:
    """Against its own last word, more than a source's price moves in that time."""
    if place.previous <= 0.0 or place.value <= 0.0 or variance <= 0.0:
        return False
    seconds = max(SAMPLE_SECONDS, (place.time_ns - place.previous_ns) * 1e-9)
    return abs(log(place.value / place.previous)) > JUMP_VOLATILITIES * sqrt(variance * seconds)


@inlined_in_place
def judge(
    places: Records,
    line: Record,
    estimate: Record,
    voters: Records,
    count: int,
    value: float,
    now_ns: int,
    votes: FloatArray,
    marks: IntArray,
    doubted: IntArray,
    found: int,
) -> int:
    """Who spoke in this entry and is outside of the tolerance and of what the others do loses weight.

    The vote that was judged has been counted. The tolerance is what keeps liars from making honest sources,
    which agree within it, lose theirs.
    """
    limit = NOBODY * 1.0
    for i in range(count):
        voters[i].deviation = abs(voters[i].value - value)
    for i in range(count):
        place = places[voters[i].place]
        if not place.heard:
            continue
        doubt = place.doubt
        outlying = voters[i].deviation > max(voters[i].confidence, line.tolerance * abs(value))
        if outlying:
            if limit < 0.0:
                limit = _deviation_limit(voters, count, votes, marks)
            variance = estimate.variance if estimate.samples >= LEAST_SAMPLES else 0.0
            outlying = voters[i].deviation > limit or _jumped(place, variance)
        if outlying:
            place.doubt = min(doubt + 1, MAXIMUM_DOUBT)
            place.doubted_ns = now_ns
        elif doubt > 0 and now_ns - place.doubted_ns >= RECOVERY_NS:
            place.doubt = doubt - 1
            place.doubted_ns = now_ns
        else:
            continue
        doubted[found] = voters[i].place
        found += 1
    return found
