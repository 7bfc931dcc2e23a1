"""Volatility surfaces: SVI per expiry, free of static arbitrage, calibrated from quotes, and how smiles move.

Log-moneyness is k = ln(K / F) with the forward of the strike's own expiry; total variance is w = σ² T. Read
`svi` first, then `arbitrage`; a calibration goes `quotes` → `slice_fit` (by `slice_loss`) → `repair`.
"""

from app.quant.surface.arbitrage import ArbitrageReport, arbitrage_report
from app.quant.surface.calibration import Calibration, SliceStatus, calibrate_surface
from app.quant.surface.parity import ParityForward, parity_forward
from app.quant.surface.stickiness import (
    LOCAL_VOLATILITY,
    STICKY_DELTA,
    STICKY_STRIKE,
    SmileDeltas,
    moved,
    smile_deltas,
)
from app.quant.surface.svi import (
    JumpWings,
    RawSvi,
    durrleman_densities,
    from_jump_wings,
    to_jump_wings,
    total_variances,
)
from app.quant.surface.volatility_surface import SurfaceStatus, SurfaceValues, VolatilitySurface

__all__ = [
    "LOCAL_VOLATILITY",
    "STICKY_DELTA",
    "STICKY_STRIKE",
    "ArbitrageReport",
    "Calibration",
    "JumpWings",
    "ParityForward",
    "RawSvi",
    "SliceStatus",
    "SmileDeltas",
    "SurfaceStatus",
    "SurfaceValues",
    "VolatilitySurface",
    "arbitrage_report",
    "calibrate_surface",
    "durrleman_densities",
    "from_jump_wings",
    "moved",
    "parity_forward",
    "smile_deltas",
    "to_jump_wings",
    "total_variances",
]
