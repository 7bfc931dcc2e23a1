"""The `market` stream: one writer, one script, one slot.

A frame's entry id is its position, `generation-sequence`: Redis itself refuses to write one twice or out of
order. The script that appends also moves the tick cursor, the market clock, the oracle's memory and the
consensus, after checking epoch and position; so a killed oracle finds everything exactly at its cursor.

The memory is a log: a snapshot of all, and what was new after it, an element an append. The writer says
when a snapshot is due. Many small values travel as one argument, each behind its length, which is cheaper.
"""

from collections.abc import Awaitable, Collection
from contextlib import AbstractContextManager
from typing import Any

import msgspec
from redis.exceptions import ResponseError

from app.adapters.redis_streams.keys import CONSENSUS, MARKET, MEMORY, PROGRESS, STATE
from app.adapters.redis_streams.market_reader import decoded_memory
from app.adapters.redis_streams.wire import Asked, Script, Wire
from app.domain.errors import Fenced, StreamReset
from app.domain.market import ORIGIN, PackedFrames, StreamPosition
from app.oracle.memory import Memory
from app.ports.market import OracleState

# KEYS: market, state, memory, consensus
# ARGV: epoch, generation, previous sequence, cursor, time_ns, frames, memory (packed, or nothing),
#       whether they are a snapshot, consensus (fields and values in turn), merged frames, their entries
_APPEND = """
local call, format = redis.call, string.format
local state = call('HMGET', KEYS[2], 'epoch', 'generation', 'sequence', 'time_ns')
if not state[1] then return redis.error_reply('RESET the market state is gone') end
if tonumber(state[1]) ~= tonumber(ARGV[1]) then
  return redis.error_reply('FENCED the market belongs to epoch ' .. state[1])
end
if state[2] ~= ARGV[2] or state[3] ~= ARGV[3] then
  return redis.error_reply('RESET the market stands at ' .. state[2] .. '-' .. state[3])
end
local sequence, at, value = tonumber(ARGV[3]), 1
while at <= #ARGV[6] do
  sequence = sequence + 1
  value, at = struct.unpack('>I4c0', ARGV[6], at)
  call('XADD', KEYS[1], format('%s-%.0f', ARGV[2], sequence), 'f', value)
end
if ARGV[8] == '1' then call('DEL', KEYS[3]) end
if ARGV[7] ~= '' then call('RPUSH', KEYS[3], ARGV[7]) end
at = 1
local consensus, count = {}, 0
while at <= #ARGV[9] do
  count = count + 1
  consensus[count], at = struct.unpack('>I4c0', ARGV[9], at)
end
for i = 1, count, 1000 do
  call('HSET', KEYS[4], unpack(consensus, i, math.min(i + 999, count)))
end
local time_ns = ARGV[5] ~= '' and ARGV[5] or state[4]
call('HSET', KEYS[2], 'cursor', ARGV[4], 'sequence', format('%.0f', sequence), 'time_ns', time_ns)
if ARGV[10] ~= '0' then
  call('HINCRBY', KEYS[2], 'merged_frames', ARGV[10])
  call('HINCRBY', KEYS[2], 'merged_entries', ARGV[11])
end
return 1
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

_KEYS = (MARKET, STATE, MEMORY, CONSENSUS)
_encode = msgspec.msgpack.Encoder().encode
_NOTHING = Memory()


class RedisMarketLog:
    """Appends where the ticks are read: one write then carries the frames of a read and the next read, which
    may wait for ticks once they are in. Nothing else is said there.
    """

    def __init__(self, streams: Wire, wire: Wire) -> None:
        self._streams = streams
        self._append = Script(streams, _APPEND)
        self._open = Script(wire, _OPEN)
        self._start = Script(wire, _START)
        self._wire = wire

    async def open(self, *, epoch: int, at_least: StreamPosition) -> OracleState | None:
        # The first frames are not held up by a script that the server does not know.
        await self._wire.execute_command("SCRIPT", "LOAD", _APPEND)
        reply = await _fenced(self._open(keys=_KEYS, args=[epoch]))
        if not reply:
            return None
        generation, sequence, time_ns, cursor = reply
        position = StreamPosition(int(generation), int(sequence))
        if position < at_least:
            return None
        log: list[bytes] = await self._wire.execute_command("LRANGE", MEMORY, 0, -1)
        return OracleState(position, int(time_ns), cursor.decode(), decoded_memory(log))

    async def start_generation(self, *, epoch: int, generation: int) -> OracleState:
        await _fenced(self._start(keys=_KEYS, args=[epoch, generation, ORIGIN.entry_id]))
        return OracleState(StreamPosition(generation, 0), 0, ORIGIN.entry_id, Memory())

    def together(self) -> AbstractContextManager[None]:
        return self._streams.together()

    def append(
        self,
        *,
        epoch: int,
        previous: StreamPosition,
        cursor: str,
        frames: PackedFrames,
        consensus: bytes,
        memory: Memory,
        whole: bool,
    ) -> Asked[None]:
        arguments = (
            *(epoch, previous.generation, previous.sequence, cursor),
            *(frames.time_ns if frames else "", frames.packed),
            *(_encode(memory) if memory != _NOTHING else b"", int(whole), consensus),
            *(frames.merged, frames.entries),
        )
        return self._append.ask(keys=_KEYS, args=arguments).then(_fenced)

    async def progress(self) -> Collection[StreamPosition]:
        stored: list[bytes] = await self._wire.execute_command("HVALS", PROGRESS)
        return [StreamPosition.parse(position.decode()) for position in stored]

    async def trim(self, before: StreamPosition) -> None:
        await self._wire.execute_command("XTRIM", MARKET, "MINID", "~", before.entry_id)


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
