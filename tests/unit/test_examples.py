"""Every scenario in `examples` says what can be meant."""

from pathlib import Path

import pytest

from app.services.load_scenario import parse_scenario

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.yaml"))
FAMILIES = {
    "capital_efficiency", "delta_neutral", "gamma_band", "leverage_band", "liquidation_guard", "rule",
    "stress_response", "volatility_target",
}  # fmt: skip


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_a_scenario_with_a_twin(path):
    scenario = parse_scenario(path.read_text(encoding="utf-8"))
    assert len(scenario.portfolios) >= 2


def test_every_family_has_an_example():
    scenarios = [parse_scenario(path.read_text(encoding="utf-8")) for path in EXAMPLES]
    kinds = {p.kind for scenario in scenarios for each in scenario.portfolios for p in each.policies}
    assert kinds == FAMILIES
