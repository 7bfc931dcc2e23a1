"""How to read `isolated_liquidation_price_cases.csv` of the reference data."""


def maintenance_terms(row: dict[str, str]) -> tuple[float, float]:
    """How each exchange's rule reads as a rate of the notional and an amount that is deducted."""
    amount, entry, rate = (float(row[name]) for name in ("amount", "entry_price", "mm_ratio"))
    rules = {
        "binance": (rate, float(row["cum_maintenance_amount"])),
        "gate": (rate + float(row["taker_fee"]), 0.0),  # the fee of the closing trade is kept back too
        "okx": (rate + float(row["taker_fee"]), 0.0),
        "bybit": (0.0, -rate * amount * entry),  # maintenance stays what it was on entry
    }
    return rules[row["exchange"]]


def printed_precision(text: str) -> float:
    """One unit of the last printed digit; at best 4e-11: one row took its collateral as 3.3333333333."""
    return max(10.0 ** -len(text.partition(".")[2]), 4e-11)
