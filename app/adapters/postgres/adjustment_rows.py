"""Moved to `app.domain.adjustment_json`."""

from app.domain.adjustment_json import adjustment_data, leg_to_json, legs_from_json, legs_to_json

__all__ = ["adjustment_data", "leg_to_json", "legs_from_json", "legs_to_json"]
