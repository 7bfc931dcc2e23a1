"""Signed ticks: the signed bytes are as documented, and nobody else's word passes for a signer's."""

import math
import struct

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from app.domain.market import Rejection, Tick, TickKind
from app.oracle.declared import EVERYBODY_ELSE, Declared, Pair, Source
from app.oracle.sequencer import ClockMode, Sequencer
from app.oracle.signatures import Seal, signed_bytes
from app.oracle.standing import standings

NOW_NS = 1_767_225_600_000_000_000
BTC = "BTC-USDT"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = KEY.public_key().public_bytes_raw()


def tick(sequence=1, *, source="desk", value=50_000.0, confidence=1.5, kind=TickKind.PRICE, instrument=BTC):
    return Tick(kind, source, instrument, sequence, NOW_NS, value, confidence)


def signed(*ticks, key=KEY):
    return key.sign(signed_bytes(ticks))


def market(sources=None, *, clock=ClockMode.LIVE, memory=None):
    declared = Declared({"desk": Source(public_key=PUBLIC)} if sources is None else sources)
    pairs = {BTC: Pair("BTC", "USDT", is_spot=True)}
    return Sequencer(
        generation=1,
        sequence=0,
        time_ns=NOW_NS,
        clock=clock,
        instruments=pairs,
        declared=declared,
        memory=memory,
    )


def heard(machine, ticks, signature=b""):
    """How many ticks of an entry were taken, and why the others were not."""
    step = machine.take(entry="1-1", ticks=ticks, wall_ns=NOW_NS, signature=signature)
    machine.close(wall_ns=NOW_NS)
    machine.frames()
    return len(step.quotes), [refusal.reason for _, refusal in step.rejected]


def test_the_signed_bytes_one_by_one():
    assert signed_bytes([tick(7)]) == b"".join(
        [
            *(b"ballast.ticks.v1\0", b"\0\0\0\1"),
            *(b"\0\5price", b"\0\4desk", b"\0\x08BTC-USDT"),
            *(b"\0\0\0\0\0\0\0\7", NOW_NS.to_bytes(8, "big")),
            *(struct.pack(">d", 50_000.0), struct.pack(">d", 1.5)),
        ]
    )


TICKS = st.builds(
    Tick,
    kind=st.sampled_from(list(TickKind)),
    source=st.text(max_size=3),
    instrument=st.text(max_size=3),
    sequence=st.integers(-2, 2) | st.integers(-(1 << 63), (1 << 63) - 1),
    time_ns=st.integers(-2, 2),
    value=st.floats(allow_nan=False),
    confidence=st.floats(allow_nan=False),
)


def exactly(ticks):
    """0 and -0 are different words."""
    return [(t, math.copysign(1.0, t.value), math.copysign(1.0, t.confidence)) for t in ticks]


@given(st.lists(TICKS, max_size=3), st.lists(TICKS, max_size=3))
def test_different_ticks_have_different_bytes(some, others):
    assert (signed_bytes(some) == signed_bytes(others)) == (exactly(some) == exactly(others))


@pytest.mark.parametrize("number", [1 << 63, -(1 << 63) - 1])
def test_numbers_that_nobody_can_have_signed(number):
    with pytest.raises(ValueError, match="not to be signed"):
        signed_bytes([tick(number)])
    assert not Seal([tick(number)], bytes(64)).is_by(PUBLIC)


def test_a_signed_entry_is_heard_whole():
    machine, ticks = market(), [tick(1), tick(2), tick(kind=TickKind.MARK)]
    assert heard(machine, ticks, signed(*ticks)) == (3, [])


CHANGED = [
    {"source": "desk2"}, {"value": 50_000.000000000007}, {"confidence": 1.4}, {"kind": TickKind.MARK},
    {"instrument": "BTC-USDC"}, {"sequence": 2},
]  # fmt: skip


@pytest.mark.parametrize("changed", CHANGED, ids=lambda changed: next(iter(changed)))
def test_one_changed_word_breaks_the_signature(changed):
    assert Seal([tick()], signed(tick())).is_by(PUBLIC)
    assert not Seal([tick(**changed)], signed(tick())).is_by(PUBLIC)


def test_ticks_added_left_out_or_in_another_order_break_it():
    one, two = tick(1), tick(2)
    signature = signed(one, two)
    for ticks in ([one], [two, one], [one, two, tick(3)]):
        assert not Seal(ticks, signature).is_by(PUBLIC)


def test_an_entry_is_one_signers_however_many_it_names():
    both = {
        "desk": Source(public_key=PUBLIC),
        "desk2": Source(public_key=OTHER.public_key().public_bytes_raw()),
    }
    for key, names in ((KEY, ("desk", "desk2")), (OTHER, ("desk2", "desk")), (OTHER, ("desk", "desk2"))):
        machine, ticks = market(both), [tick(source=name) for name in names]
        assert heard(machine, ticks, signed(*ticks, key=key)) == (1, [Rejection.BAD_SIGNATURE])
        assert [each.source for each in machine.memory().quotes] == ["desk" if key is KEY else "desk2"]


def test_unsigned_and_wrongly_signed_ticks_of_a_signer_are_refused_and_leave_nothing():
    machine = market()
    far = tick(1 << 60)
    assert heard(machine, [far]) == (0, [Rejection.UNSIGNED])
    assert heard(machine, [far], signed(far, key=OTHER)) == (0, [Rejection.BAD_SIGNATURE])
    assert heard(machine, [far], bytes(64)) == (0, [Rejection.BAD_SIGNATURE])
    assert heard(machine, [tick(1)], signed(tick(1))) == (1, [])


def test_a_replayed_entry_is_refused_by_its_sequence_also_after_a_restart():
    machine = market()
    assert heard(machine, [tick(5)], signed(tick(5))) == (1, [])
    for again in (machine, market(memory=machine.memory())):
        assert heard(again, [tick(5)], signed(tick(5))) == (0, [Rejection.OLD_SEQUENCE])
        assert heard(again, [tick(4)], signed(tick(4))) == (0, [Rejection.OLD_SEQUENCE])
        assert heard(again, [tick(6)]) == (0, [Rejection.UNSIGNED])
    assert heard(machine, [tick(6)], signed(tick(6))) == (1, [])


def test_others_need_no_signature_and_a_signature_of_theirs_is_not_looked_at():
    machine = market()
    assert heard(machine, [tick(source="other")]) == (1, [])
    assert heard(machine, [tick(2, source="other")], bytes(64)) == (1, [])
    assert heard(machine, [tick(3, source="other"), tick()]) == (1, [Rejection.UNSIGNED])


def test_a_key_holds_from_its_registration_and_until_it_is_taken_back():
    machine = market({})
    assert heard(machine, [tick(1)]) == (1, [])
    machine.declare(instruments=machine.instruments, declared=Declared({"desk": Source(public_key=PUBLIC)}))
    assert heard(machine, [tick(2)]) == (0, [Rejection.UNSIGNED])
    assert heard(machine, [tick(2)], signed(tick(2))) == (1, [])
    machine.declare(instruments=machine.instruments, declared=Declared())
    assert heard(machine, [tick(3)]) == (1, [])


def test_a_replays_clock_is_not_moved_in_a_signers_name():
    machine = market(clock=ClockMode.REPLAY)
    beat = Tick(TickKind.HEARTBEAT, "desk", "", 1, NOW_NS + 10**9, 0.0)
    assert heard(machine, [beat]) == (0, [Rejection.UNSIGNED])
    assert machine.time_ns == NOW_NS
    heard(machine, [beat], signed(beat))
    assert machine.time_ns == NOW_NS + 10**9


def test_everybody_else_may_be_shut_out():
    machine = market({EVERYBODY_ELSE: Source(enabled=False), "desk": Source()})
    assert heard(machine, [tick(source="stranger"), tick()]) == (1, [Rejection.UNDECLARED])


def test_who_is_disabled_votes_no_more():
    machine = market({})
    heard(machine, [tick(1, source="liar", value=90_000.0), tick(1, value=50_000.0)])
    machine.declare(instruments=machine.instruments, declared=Declared({"liar": Source(enabled=False)}))
    assert heard(machine, [tick(2, source="liar", value=90_000.0), tick(2)]) == (1, [Rejection.UNDECLARED])
    lines = standings(
        machine.memory(), machine.declared, of_prices_ns=60_000_000_000, instruments=machine.instruments
    )
    standing = lines[TickKind.PRICE, BTC]
    assert (standing.change.value, standing.change.sources) == (50_000.0, 1)
    assert {voice.tick.source: voice.weight for voice in standing.sources} == {"liar": 0.0, "desk": 1.0}


def test_a_key_has_32_bytes():
    with pytest.raises(ValueError, match="has 32 bytes, not 31"):
        Source(public_key=bytes(31))
