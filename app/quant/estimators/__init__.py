"""Volatility from bars and ticks, streaming: what is kept of the past is a few sums for each instrument.

`windows` says how the past is forgotten, `bars` and `ticks` keep the sums and say how, `bar_volatilities` and
`ticks` read them. An estimator is a function of a state. A state is made by `update`, which takes one bar or
a million, of one instrument or of many, in any portions, to the same bits. So the streaming form of every
estimator reads what `update` made, the batch form reads what `measure` made, and under both is one loop.

The conventions, beside those of `app.quant`:

- States are NamedTuples of arrays with the instrument on the leading axis: plain numbers, no hidden parts.
  Functions return new states and leave those that they were given as they were.
- Instants are int64 nanoseconds. A year is 365 days of 24 hours: these markets never close.
- Each estimate is a ratio: weighted variance seen over weighted time in which it was seen. Bars and ticks may
  therefore come at any spacing. What happens in a gap is part of the return across it, with the gap's time;
  range estimators see the inside of bars only, and divide by the time inside bars.
- A bar without movement counts as calm: flat bars that an exchange prints while it is halted should not be
  passed on. An estimate is as of the last bar or tick; that none came since does not change it.
- Where there is no answer the volatility is 0.0 and its status says why, never NaN. A market that did not
  move has volatility 0.0 and the status `VALID`.
"""
