"""What a stress response remembers: the tier it is in, and what positions were before the first one."""

from collections.abc import Sequence

from msgspec.structs import replace

from app.domain.families.rule import SetState
from app.domain.policies import AnyPolicy, Rule, StoredPolicy, StressResponse
from app.domain.portfolios import Portfolio, PortfolioState
from app.engine.memory import PolicyMemory
from app.engine.scene import Row
from app.engine.tiers import tier_after, tier_of
from app.engine.trigger_rows import in_scope


def tiered(
    stored: StoredPolicy, rows: Sequence[Row], memory: PolicyMemory, holdings: Portfolio
) -> PolicyMemory:
    """After the policy acted on these rows. Calm again, it forgets the sizes."""
    policy = stored.policy
    if not isinstance(policy, StressResponse):
        return memory
    tier = tier_of(memory)
    after = tier_after(policy, rows, tier)
    bases = memory.bases
    if tier == 0:
        bases = tuple(
            (str(holdings.accounts[ordinal].id), position.instrument, abs(float(position.quantity)))
            for ordinal in in_scope(holdings.accounts, policy.account)
            for position in holdings.accounts[ordinal].positions
        )
    return replace(
        memory, registers=(float(after),), registers_of=stored.version, bases=bases if after else ()
    )


def state_wanted(policy: AnyPolicy, memory: PolicyMemory) -> PortfolioState | None:
    """What a policy that just acted puts the portfolio into; None leaves it."""
    if isinstance(policy, Rule):
        states = [action.state for action in policy.actions if isinstance(action, SetState)]
        return PortfolioState(states[-1]) if states else None
    if isinstance(policy, StressResponse) and any(tier.reduce_only for tier in policy.tiers):
        tier = tier_of(memory)
        reduces = tier > 0 and policy.tiers[tier - 1].reduce_only
        return PortfolioState.REDUCE_ONLY if reduces else PortfolioState.ACTIVE
    return None
