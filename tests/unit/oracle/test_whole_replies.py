"""Replies come out as the bytes that they are, however they arrive; hiredis says what is a reply."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError

from app.adapters.redis_streams import whole_replies
from app.adapters.redis_streams.whole_replies import WholeReplies
from app.adapters.redis_streams.wire import parsed_replies


def line(kind, text):
    return kind + text + b"\r\n"


def bulk(data):
    return line(b"$", b"%d" % len(data)) + data + b"\r\n"


def array(elements):
    return line(b"*", b"%d" % len(elements)) + b"".join(elements)


INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
LINES = st.binary(max_size=20).map(lambda text: text.replace(b"\r", b"").replace(b"\n", b""))
ERRORS = st.builds(
    lambda word, text: line(b"-", word + text), st.sampled_from([b"ERR ", b"NOSCRIPT No ", b"NOSCRIPT", b""]),
    LINES,
)  # fmt: skip
SIMPLE = LINES.map(lambda text: line(b"+", text))
INTEGERS = INT64.map(lambda number: line(b":", b"%d" % number))
ODD = st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b"*3\r\n", b"$5\r\n", b"-ERR\r\n", b"x"])).map(
    b"".join
)
BIG = st.builds(lambda data, times: data * times, ODD, st.integers(0, 3_000))
BULKS = st.one_of(st.binary(max_size=40), ODD, BIG).map(bulk) | st.just(b"$-1\r\n")
REPLIES = st.recursive(
    st.one_of(SIMPLE, ERRORS, INTEGERS, BULKS, st.just(b"*-1\r\n")),
    lambda of: st.lists(of, max_size=5).map(array),
)
CUTS = st.lists(st.integers(0, 1 << 20) | st.integers(0, 100), max_size=12)


def chunks(stream, cuts):
    at = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[start:end] for start, end in pairwise(at) if end > start]


def come_out(replies, chunk):
    replies.feed(chunk)
    found = []
    while (reply := replies.gets()) is not False:
        found.append(reply)
    return found


def comparable(reply):
    """Errors too, wherever they stand."""
    if isinstance(reply, Exception):
        return type(reply), str(reply)
    return [comparable(each) for each in reply] if isinstance(reply, list) else reply


def parsed(reply):
    """By hiredis, of one whole reply and nothing else."""
    if isinstance(reply, ResponseError):
        return reply
    reader = parsed_replies()
    (one,) = come_out(reader, reply)
    assert not reader.has_data()
    return one


@given(st.lists(REPLIES, max_size=8), CUTS)
def test_each_reply_comes_out_once_it_is_there_and_as_it_came(sent, cuts):
    """As soon as hiredis has one, which makes the same of it."""
    replies, reader, found = WholeReplies(), parsed_replies(), []
    for chunk in chunks(b"".join(sent), cuts):
        came = come_out(replies, chunk)
        assert comparable([parsed(each) for each in came]) == comparable(come_out(reader, chunk))
        found += came
    assert len(found) == len(sent)
    for came, reply in zip(found, sent, strict=True):
        assert isinstance(came, ResponseError) if reply[:1] == b"-" else came == reply
    assert come_out(replies, b"+PONG\r\n") == [b"+PONG\r\n"]  # and nothing was left before it


@given(st.lists(REPLIES, min_size=1, max_size=3))
def test_bytes_that_arrive_one_by_one_make_the_same_replies(sent):
    stream = b"".join(sent)[:2_000]
    replies, at_once = WholeReplies(), come_out(WholeReplies(), stream)
    one_by_one = [reply for n in range(len(stream)) for reply in come_out(replies, stream[n : n + 1])]
    assert comparable(one_by_one) == comparable(at_once)


def test_errors_are_those_of_redis():
    found = come_out(
        WholeReplies(), b"-NOSCRIPT No matching script.\r\n-WRONGTYPE \xff\r\n-\r\n*1\r\n-ERR\r\n"
    )
    assert comparable(found) == [
        (NoScriptError, "NOSCRIPT No matching script."),
        (ResponseError, "WRONGTYPE \ufffd"),
        (ResponseError, ""),
        b"*1\r\n-ERR\r\n",  # one in an array is left to whoever reads it
    ]


NO_REPLIES = [
    b"HTTP/1.1 400 Bad Request\r\n", b"H", b"\r\n", b"\0", b"\xff\xff",
    b"$\r\n", b"$x\r\n", b"$-\r\n", b"$-2\r\n", b"$1x\r\n", b"$ 1\r\n", b"$-1x\r\n", b"$1-1\r\n",
    b"*\r\n", b"*x\r\n", b"*-\r\n", b"*-2\r\n", b"*1x\r\n", b"*1.0\r\n", b"*-10\r\n",
    b"*99999999999999999999\r\n", b"*999999999999999999\r\n", b"$99999999999999999999\r\n",
]  # fmt: skip


@pytest.mark.parametrize("wrong", NO_REPLIES)
def test_what_is_no_reply_is_refused_as_hiredis_refuses_it(wrong):
    for replies in (WholeReplies(), parsed_replies()):
        assert len(come_out(replies, b"+OK\r\n$1\r\n*\r\n")) == 2
        with pytest.raises(RedisConnectionError):
            come_out(replies, b"*2\r\n:1\r\n" + wrong)
        with pytest.raises(RedisConnectionError):  # and so is all that follows
            come_out(replies, b"+OK\r\n")


@given(st.binary(min_size=1).filter(lambda data: data[:1] not in b"+-:$*"), st.booleans())
def test_bytes_of_another_kind_are_refused(data, ends):
    with pytest.raises(RedisConnectionError):
        come_out(WholeReplies(), data + b"\r\n" * ends)


TOKENS = st.sampled_from(
    [b"*", b"$", b"+", b"-", b":", b"0", b"1", b"12", b"-1", b"\r\n", b"\r", b"\n", b"x"]
)


@given(st.lists(TOKENS, max_size=60).map(b"".join), CUTS)
@example(b"*999999999999999999\r\n" * 20, [])
def test_whatever_comes_is_told_once_in_its_order_or_refused(stream, cuts):
    """Each reply takes bytes of the stream, so there is an end of them."""
    replies, found = WholeReplies(), []
    try:
        for chunk in chunks(stream, cuts):
            found += come_out(replies, chunk)
    except RedisConnectionError:
        pass
    told = [b"-%b\r\n" % str(each).encode() if isinstance(each, ResponseError) else each for each in found]
    assert all(len(each) >= len(b"+\r\n") for each in told)
    assert stream.startswith(b"".join(told))


class Counted(np.ndarray):
    """Counts the bytes that are looked at."""

    looks = 0

    def __getitem__(self, at):
        Counted.looks += 1
        return int(np.asarray(self)[at])


@pytest.fixture
def looks(monkeypatch):
    """How often the loops look at a byte of what is fed, uncompiled."""

    def counted(data):
        return np.frombuffer(bytes(data), dtype=np.uint8).view(Counted)

    monkeypatch.setattr(whole_replies, "readable", counted)
    for loop in ("_go_on", "_is_null", "line_end", "number_between"):
        monkeypatch.setattr(whole_replies, loop, getattr(whole_replies, loop).py_func)

    def looks_at(stream, size):
        Counted.looks = 0
        replies = WholeReplies()
        found = [
            each for at in range(0, len(stream), size) for each in come_out(replies, stream[at : at + size])
        ]
        assert found == [stream]
        return Counted.looks

    return looks_at


@pytest.mark.parametrize("size", [4, 16, 700, 1 << 20])
def test_what_a_reply_costs_grows_as_its_size(looks, size):
    """However many chunks it arrives in."""
    entry = array(
        [bulk(b"1700000000000-0"), array([bulk(b"value"), bulk(b"1.25" * 20), b"*-1\r\n", b":7\r\n"])]
    )
    short, long = array([entry] * 10), array([entry] * 40)
    assert looks(long, size) <= 1.1 * looks(short, size) * len(long) / len(short)
    short, long = bulk(b"\r\n" * 1_000), bulk(b"\r\n" * 4_000)
    assert looks(long, size) <= 1.1 * looks(short, size) * len(long) / len(short)
