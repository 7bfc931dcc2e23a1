"""What entries of ticks come to: who may vote, how good the consensus is, and its averages.

Reference: Drift protocol v2, oracle validity (the ladder of qualities).
"""

from math import exp, log

from app.domain.market import Quality
from app.oracle.doubting import SAMPLE_SECONDS, judge
from app.oracle.records import NOBODY, Record, Records
from app.oracle.settled import ENDS, FADES, TIME
from app.oracle.votes import polled
from app.quant.arrays import BoolArray, FloatArray, IntArray
from app.quant.compiled import compiled_in_place, inlined_in_place

TWAP_SECONDS = 300.0
EWMA_SECONDS = 60.0
VARIANCE_SECONDS = 600.0
SECOND_NS = 1_000_000_000

_VALID, _DIVERGING = int(Quality.VALID), int(Quality.DIVERGING)
_STALE_FOR_TRADING, _STALE_FOR_MARGIN = int(Quality.STALE_FOR_TRADING), int(Quality.STALE_FOR_MARGIN)
_INSUFFICIENT, _UNCERTAIN = int(Quality.INSUFFICIENT_SOURCES), int(Quality.TOO_UNCERTAIN)
_VOLATILE, _NON_POSITIVE = int(Quality.TOO_VOLATILE), int(Quality.NON_POSITIVE)


def converts(rate: Record, margin_age_ns: int, trading_age_ns: int, now_ns: int) -> tuple[bool, int]:
    """Whether a currency has a consensus that converts, and how old that makes what it converts.

    It does while one of its sources counts and its own ladder, whose ages these are, does not find it worse
    than stale for trading or too uncertain. What is not even that makes nothing older.
    """
    usable = rate.quality <= _STALE_FOR_TRADING or rate.quality == _UNCERTAIN
    age_ns = max(0, now_ns - rate.new_until_ns)
    counts = now_ns <= rate.counts_until_ns and age_ns <= margin_age_ns
    return rate.samples > 0 and usable and counts, age_ns if age_ns > trading_age_ns else 0


_converts = inlined_in_place(converts)


@inlined_in_place
def _gather(
    places: Records, lines: Records, estimates: Records, voters: Records, first: int, now_ns: int
) -> tuple[int, int, int, int, int, int, int]:
    """How many may vote, how many of them are fresh, their newest time, the least age, their weight, and of
    what they come to until when it is as good as new and until when it counts.

    A word has no age until its source's heartbeat is over.

    Where nobody is fresh, the newest one votes alone. Whoever quotes in another currency votes only where
    that converts him (`converts`) into what the line may have, and is as old as a rate that is stale.
    """
    count, fresh, newest_ns, age_ns, weight, new_until_ns, counts_until_ns = 0, 0, 0, 0, 0, 0, 0
    at = first
    while at != NOBODY:
        place = places[at]
        value, confidence, known = place.value, place.confidence, True
        own_ns = max(0, now_ns - place.time_ns - place.heartbeat_ns)
        new_ns, counts_ns = place.time_ns + place.heartbeat_ns, place.time_ns + place.maximum_age_ns
        if place.converter != NOBODY:
            known = False
            if place.converter >= 0:
                rate, rate_line = estimates[place.converter], lines[place.converter]
                known, rate_ns = _converts(rate, rate_line.margin_age_ns, rate_line.trading_age_ns, now_ns)
                own_ns = max(own_ns, rate_ns)
                new_ns, counts_ns = min(new_ns, rate.new_until_ns), min(counts_ns, rate.counts_until_ns)
                factor, spread = rate.value, rate.confidence
                if known and place.divides:
                    factor, spread = 1.0 / rate.value, rate.confidence / (rate.value * rate.value)
                value, confidence = place.value * factor, place.confidence * factor + place.value * spread
                line = lines[place.line]
                confidence = min(confidence, line.most)
                known = known and line.above < value <= line.most
        is_fresh = own_ns <= place.maximum_age_ns - place.heartbeat_ns
        if known and (is_fresh or (fresh == 0 and place.time_ns > newest_ns)):
            if fresh == 0:
                count, weight, new_until_ns, counts_until_ns = 0, 0, 0, 0
            if is_fresh:
                fresh += 1
            voter = voters[count]
            voter.value, voter.confidence = value, confidence
            voter.declared = place.weight
            voter.weight = max(1, place.weight >> place.doubt)
            voter.place = at
            count += 1
            weight += voter.weight
            age_ns = own_ns if fresh <= 1 else min(age_ns, own_ns)
            newest_ns = place.time_ns if fresh <= 1 else max(newest_ns, place.time_ns)
            new_until_ns, counts_until_ns = max(new_until_ns, new_ns), max(counts_until_ns, counts_ns)
        at = place.next
    return count, fresh, newest_ns, age_ns, weight, new_until_ns, counts_until_ns


@inlined_in_place
def _pass_time(estimate: Record, now_ns: int) -> None:
    """The standing value stood until now: averages take it in for that time."""
    seconds = max(0, now_ns - estimate.updated_ns) * 1e-9
    share = min(1.0, seconds / TWAP_SECONDS)
    estimate.twap += (estimate.value - estimate.twap) * share
    estimate.twap_confidence += (estimate.confidence - estimate.twap_confidence) * share
    share = 1.0 - exp(-seconds / EWMA_SECONDS)
    estimate.ewma += (estimate.value - estimate.ewma) * share
    estimate.ewma_confidence += (estimate.confidence - estimate.ewma_confidence) * share
    estimate.updated_ns = now_ns


@inlined_in_place
def _stand(
    estimate: Record, line: Record, value: float, confidence: float, dispersion: float, now_ns: int
) -> None:
    """A new consensus stands; volatility is sampled at least a second apart."""
    estimate.value, estimate.confidence, estimate.dispersion = value, confidence, dispersion
    seconds = (now_ns - estimate.sampled_ns) * 1e-9
    if estimate.samples == 0:
        estimate.twap, estimate.twap_confidence = value, confidence
        estimate.ewma, estimate.ewma_confidence = value, confidence
        estimate.updated_ns = now_ns
        estimate.variance = 0.0
    elif seconds < SAMPLE_SECONDS:
        return
    elif line.is_positive:
        change = log(value / estimate.sampled)
        share = max(1.0 - exp(-seconds / VARIANCE_SECONDS), 1.0 / estimate.samples)
        estimate.variance += (change * change / seconds - estimate.variance) * share
    estimate.sampled, estimate.sampled_ns = value, now_ns
    estimate.samples += 1


@inlined_in_place
def _quality(
    line: Record,
    estimate: Record,
    value: float,
    confidence: float,
    dispersion: float,
    age_ns: int,
) -> int:
    """The first rung of the ladder that a consensus with a quorum stands on."""
    if line.is_positive and value <= 0.0:
        return _NON_POSITIVE
    ratio = value / estimate.twap if line.is_price and estimate.samples > 0 else 1.0
    if ratio > line.volatile_ratio or 1.0 / ratio > line.volatile_ratio:
        return _VOLATILE
    if confidence > line.uncertain * abs(value) or dispersion > line.dispersed * abs(value):
        return _UNCERTAIN
    if age_ns > line.margin_age_ns:
        return _STALE_FOR_MARGIN
    if age_ns > line.trading_age_ns:
        return _STALE_FOR_TRADING
    return _DIVERGING if abs(ratio - 1.0) > line.diverging else _VALID


@inlined_in_place
def _settle(
    places: Records,
    lines: Records,
    estimates: Records,
    row: int,
    voters: Records,
    votes: FloatArray,
    marks: IntArray,
    now_ns: int,
    doubted: IntArray,
    found: int,
) -> int:
    line, estimate = lines[row], estimates[row]
    count, fresh, newest_ns, age_ns, weight, new_until_ns, counts_until_ns = _gather(
        places, lines, estimates, voters, line.first, now_ns
    )
    estimate.sources = fresh
    if estimate.samples > 0:
        _pass_time(estimate, now_ns)
    if count < max(1, line.least_sources) or weight < line.least_weight:
        estimate.quality = _INSUFFICIENT
        return found
    value, confidence, dispersion = polled(voters, count, votes, marks)
    quality = _quality(line, estimate, value, confidence, dispersion, age_ns)
    estimate.quality = _STALE_FOR_MARGIN if fresh == 0 and quality < _STALE_FOR_MARGIN else quality
    if quality == _NON_POSITIVE:
        return found
    if line.tolerance > 0.0 and value > 0.0:
        found = judge(places, line, estimate, voters, count, value, now_ns, votes, marks, doubted, found)
    estimate.time_ns = newest_ns
    estimate.new_until_ns, estimate.counts_until_ns = new_until_ns, counts_until_ns
    _stand(estimate, line, value, confidence, dispersion, now_ns)
    return found


@inlined_in_place
def _fade(
    places: Records,
    lines: Records,
    estimates: Records,
    voters: Records,
    now_ns: int,
    changed_whole: IntArray,
    changed: FloatArray,
    shown: int,
) -> int:
    """Of whom nobody speaks the quality falls with time, and nothing else changes.

    All are looked at before any is changed, so that their order, which a successor may have otherwise, means
    nothing. Returns where the changes end that began at `shown`.
    """
    end = shown
    for row in range(estimates.shape[0]):
        line, estimate = lines[row], estimates[row]
        if line.heard or not line.fades or estimate.samples == 0:
            continue
        count, fresh, _, age_ns, weight, _, _ = _gather(places, lines, estimates, voters, line.first, now_ns)
        quality = _VALID
        if count < max(1, line.least_sources) or weight < line.least_weight:
            quality = _INSUFFICIENT
        elif fresh == 0 or age_ns > line.margin_age_ns:
            quality = _STALE_FOR_MARGIN
        elif age_ns > line.trading_age_ns:
            quality = _STALE_FOR_TRADING
        if quality > estimate.quality:
            changed_whole[end, 0], changed_whole[end, 1] = row, fresh
            changed_whole[end, 2], changed_whole[end, 3] = quality, estimate.time_ns
            changed[end, 0], changed[end, 1] = estimate.value, estimate.confidence
            end += 1
    for i in range(shown, end):
        estimate = estimates[changed_whole[i, 0]]
        estimate.sources, estimate.quality = changed_whole[i, 1], changed_whole[i, 2]
    return end


@inlined_in_place
def _show(
    estimates: Records, touched: IntArray, count: int, changed_whole: IntArray, changed: FloatArray, end: int
) -> int:
    """Of these lines what they have come to, where that is anything. Returns where the changes end then."""
    for i in range(count):
        row = touched[i]
        estimate = estimates[row]
        if estimate.samples > 0:
            changed_whole[end, 0], changed_whole[end, 1] = row, estimate.sources
            changed_whole[end, 2], changed_whole[end, 3] = estimate.quality, estimate.time_ns
            changed[end, 0], changed[end, 1] = estimate.value, estimate.confidence
            end += 1
    return end


@inlined_in_place
def _hear(
    places: Records,
    lines: Records,
    told_whole: IntArray,
    told: FloatArray,
    start: int,
    end: int,
    touched: IntArray,
    spoke: BoolArray,
) -> int:
    """Takes the ticks of one entry; how many lines they name, in that order.

    A confidence is at most what a value may be: beyond that it says nothing, and sums of it would overflow.
    """
    count = 0
    for i in range(start, end):
        place = places[told_whole[i, 0]]
        if not place.heard:
            place.heard = 1
            spoke[told_whole[i, 0]] = True
            place.previous, place.previous_ns = place.value, place.time_ns
        line = lines[place.line]
        place.time_ns = told_whole[i, 1]
        place.value, place.confidence = told[i, 0], min(told[i, 1], line.most)
        if not line.heard:
            line.heard = 1
            touched[count] = place.line
            count += 1
    return count


@compiled_in_place
def settle(
    places: Records,
    lines: Records,
    estimates: Records,
    told_whole: IntArray,
    told: FloatArray,
    told_ends: IntArray,
    entries: int,
    voters: Records,
    votes: FloatArray,
    marks: IntArray,
    touched: IntArray,
    spoke: BoolArray,
    moved: BoolArray,
    doubted: IntArray,
    changed_whole: IntArray,
    changed: FloatArray,
    ends: IntArray,
    first_entry: int,
    first_change: int,
    clock_ns: int,
) -> tuple[int, int]:
    """Takes entries of ticks one after the other; the lines that each names are settled after all its ticks.

    Tick i is a place and its time in `told_whole[i]`, value and confidence in `told[i]`. Row e of `told_ends`
    has the end of the entry's ticks and the market time in ns. Change i is line, sources, quality and time in
    `changed_whole[i]`, value and confidence in `changed[i]`, in the order in which the lines were named. With
    the first entry of each second, `clock_ns` being the time of the one before, follow those that fade. From
    row `first_entry` on `ends` gets of each entry the end of its changes, the first of which is number
    `first_change`, the market time, and where those begin that fade.
    Places that spoke and lines that moved are marked.
    Returns how many changes there are, and how often a place was doubted more or less than before: the first
    so many of `doubted`.
    """
    start, shown, found = 0, 0, 0
    for e in range(entries):
        end, now_ns = told_ends[e, 0], told_ends[e, 1]
        shown_before = shown
        count = _hear(places, lines, told_whole, told, start, end, touched, spoke)
        for converts in (1, 0):
            for i in range(count):
                line = lines[touched[i]]
                if line.converts == converts:
                    found = _settle(
                        places, lines, estimates, touched[i], voters, votes, marks, now_ns, doubted, found
                    )
        shown = _show(estimates, touched, count, changed_whole, changed, shown)
        ends[first_entry + e, FADES] = first_change + shown
        if now_ns // SECOND_NS > clock_ns // SECOND_NS:
            shown = _fade(places, lines, estimates, voters, now_ns, changed_whole, changed, shown)
            clock_ns = now_ns
        for i in range(shown_before, shown):
            moved[changed_whole[i, 0]] = True
        for i in range(start, end):
            places[told_whole[i, 0]].heard = 0
        for i in range(count):
            lines[touched[i]].heard = 0
        ends[first_entry + e, ENDS], ends[first_entry + e, TIME] = first_change + shown, now_ns
        start = end
    return shown, found
