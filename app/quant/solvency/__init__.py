"""Margin accounts as books of positions: their figures, and the prices at which they are liquidated.

`books` is what an account holds, `figures` what it is worth and needs, `liquidation` where it falls below.

- A book is one margin unit. Cross margin: all positions of the account and its cash. Isolated: one position
  and the collateral that was set aside for it, each in a book of its own. Margin never crosses books.
- All figures are in the one quote currency that the prices are in. There, linear contracts, inverse contracts
  with their coin collateral, and holdings are all straight lines in the price of the coin; only options are
  curved.
- Equity counts options at their marks. So the mark is not part of an option's requirement (Deribit prints it
  as part and leaves options out of the balance it is held against: the difference, equity less requirement,
  is the same).
- Options are marked by Black-76 at zero rate on the price of their instrument, their volatility held while
  prices move (sticky strike).
"""
