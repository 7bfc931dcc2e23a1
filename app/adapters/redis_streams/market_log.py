"""The `market` stream: one writer, one script, one slot.

A frame's entry id is its position, `generation-sequence`: Redis itself refuses to write one twice or out of
order. The script that appends also moves the tick cursor, the market clock, the sources' last quotes and
the consensus, after checking epoch and position; so a killed oracle finds everything exactly at its cursor.
"""

from collections.abc import Awaitable, Iterable, Sequence
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from app.adapters.redis_streams.keys import CONSENSUS, MARKET, QUOTES, STATE
from app.adapters.redis_streams.market_reader import consensus_field
from app.adapters.redis_streams.tick_log import decode_tick, encode_tick
from app.domain.errors import Fenced, StreamReset
from app.domain.market import ORIGIN, Change, Frame, StreamPosition, Tick
from app.ports.market import OracleState

# KEYS: market, state, quotes, consensus
# ARGV: epoch, generation, previous sequence, cursor, time_ns, number of frames,
#       frames…, number of quote arguments, quotes…, consensus…
_APPEND = """
local state = redis.call('HMGET', KEYS[2], 'epoch', 'generation', 'sequence')
if not state[1] then return redis.error_reply('RESET the market state is gone') end
if tonumber(state[1]) ~= tonumber(ARGV[1]) then
  return redis.error_reply('FENCED the market belongs to epoch ' .. state[1])
end
if state[2] ~= ARGV[2] or state[3] ~= ARGV[3] then
  return redis.error_reply('RESET the market stands at ' .. state[2] .. '-' .. state[3])
end
local sequence = tonumber(ARGV[3])
local frames = tonumber(ARGV[6])
local at = 7
for i = 1, frames do
  sequence = sequence + 1
  redis.call('XADD', KEYS[1], ARGV[2] .. '-' .. string.format('%.0f', sequence), 'f', ARGV[at])
  at = at + 1
end
local quotes = tonumber(ARGV[at])
at = at + 1
for i = at, at + quotes - 1, 1000 do
  redis.call('HSET', KEYS[3], unpack(ARGV, i, math.min(i + 999, at + quotes - 1)))
end
at = at + quotes
for i = at, #ARGV, 1000 do
  redis.call('HSET', KEYS[4], unpack(ARGV, i, math.min(i + 999, #ARGV)))
end
redis.call('HSET', KEYS[2], 'cursor', ARGV[4], 'sequence', string.format('%.0f', sequence))
if frames > 0 then redis.call('HSET', KEYS[2], 'time_ns', ARGV[5]) end
return sequence
"""

# ARGV: epoch. Answers the state after taking it over.
_OPEN = """
local epoch = redis.call('HGET', KEYS[2], 'epoch')
if not epoch then return {} end
if tonumber(epoch) > tonumber(ARGV[1]) then
  return redis.error_reply('FENCED the market belongs to epoch ' .. epoch)
end
redis.call('HSET', KEYS[2], 'epoch', ARGV[1])
return redis.call('HMGET', KEYS[2], 'generation', 'sequence', 'time_ns', 'cursor')
"""

# ARGV: epoch, generation, cursor.
_START = """
local epoch = redis.call('HGET', KEYS[2], 'epoch')
if epoch and tonumber(epoch) > tonumber(ARGV[1]) then
  return redis.error_reply('FENCED the market belongs to epoch ' .. epoch)
end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
redis.call('HSET', KEYS[2], 'epoch', ARGV[1], 'generation', ARGV[2], 'sequence', '0',
  'time_ns', '0', 'cursor', ARGV[3])
return 1
"""

_KEYS = (MARKET, STATE, QUOTES, CONSENSUS)
_frame = msgspec.msgpack.Encoder()


class RedisMarketLog:
    def __init__(self, redis: "Redis") -> None:
        self._append = redis.register_script(_APPEND)
        self._open = redis.register_script(_OPEN)
        self._start = redis.register_script(_START)
        self._redis = redis

    async def open(self, *, epoch: int, at_least: StreamPosition) -> OracleState | None:
        reply = await _fenced(self._open(keys=_KEYS, args=[epoch]))
        if not reply:
            return None
        generation, sequence, time_ns, cursor = reply
        position = StreamPosition(int(generation), int(sequence))
        if position < at_least:
            return None
        packed: list[Any] = await self._redis.hvals(QUOTES)
        return OracleState(position, int(time_ns), cursor.decode(), [decode_tick(one) for one in packed])

    async def start_generation(self, *, epoch: int, generation: int) -> OracleState:
        await _fenced(self._start(keys=_KEYS, args=[epoch, generation, ORIGIN.entry_id]))
        return OracleState(StreamPosition(generation, 0), 0, ORIGIN.entry_id, [])

    async def append(
        self,
        *,
        epoch: int,
        previous: StreamPosition,
        cursor: str,
        frames: Sequence[Frame],
        quotes: Iterable[Tick],
    ) -> None:
        newest_quotes: dict[str, bytes] = {}
        for tick in quotes:
            newest_quotes[f"{tick.kind}|{tick.instrument}|{tick.source}"] = encode_tick(tick)
        newest: dict[str, Change] = {}
        for frame in frames:
            for change in frame.changes:
                newest[consensus_field(change.kind, change.instrument)] = change
        arguments: list[str | int | bytes] = [epoch, previous.generation, previous.sequence, cursor]
        arguments += [frames[-1].time_ns if frames else "", len(frames)]
        arguments += map(_frame.encode, frames)
        arguments.append(2 * len(newest_quotes))
        for field, packed in newest_quotes.items():
            arguments += (field, packed)
        for field, change in newest.items():
            arguments += (field, _frame.encode(change))
        await _fenced(self._append(keys=_KEYS, args=arguments))

    async def trim(self, before: StreamPosition) -> None:
        await self._redis.execute_command("XTRIM", MARKET, "MINID", "~", before.entry_id)


async def _fenced(reply: Awaitable[Any]) -> Any:
    try:
        return await reply
    except ResponseError as error:
        message = str(error)
        if message.startswith("FENCED"):
            raise Fenced(message.removeprefix("FENCED ")) from None
        if message.startswith("RESET"):
            raise StreamReset(message.removeprefix("RESET ")) from None
        raise
