"""Names in Redis. What one script writes together shares the `market` hash slot."""

TICKS = "oracle:ticks"
DEADLETTER = "oracle:deadletter"
REJECTIONS = "oracle:rejections"  # hash: reason|source -> how many; no source: nobody that is known
MARKET = "market"
EVENTS = "events"
ADJUSTMENTS = "adjustments"  # a word whenever something was queued; the queue itself is in PostgreSQL
STATE = "{market}:state"  # hash: generation, sequence, cursor, epoch, time_ns, merged frames and entries
MEMORY = "{market}:memory"  # list: a snapshot of the oracle's memory, and what followed, up to the cursor
CONSENSUS = "{market}:consensus"  # hash: the last change of every consensus value
PROGRESS = "{market}:progress"  # hash: shard -> position evaluated and committed
FIGURES = "{market}:evaluator:"  # and a shard: what whoever holds it says of itself; it expires
PROGRESS_CHANNEL = "{market}:progressed"  # published after PROGRESS, so that nobody polls
HINTS = "{market}:hints"  # stream: portfolios that changed
ATTEMPTS = "webhooks:attempts"  # hash: what|kind -> how many, of all couriers
TICKET = "stream:ticket:"  # and a ticket's digest: the digest of its key; it expires
