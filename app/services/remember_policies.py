"""What a lane remembers of the policies that it decides, and which of it has still to be stored."""

from collections.abc import Iterable, Mapping

from app.domain.identifiers import PolicyId, PortfolioId
from app.engine.memory import NOTHING, PolicyMemory, unpacked
from app.engine.verdicts import Verdict
from app.ports.evaluation import StoredMemory

Unsaved = Mapping[PolicyId, tuple[PortfolioId, PolicyMemory]]


class Remembered:
    def __init__(self) -> None:
        self.memories: dict[PolicyId, PolicyMemory] = {}
        self._unsaved: dict[PolicyId, PortfolioId] = {}

    def of(self, policy_id: PolicyId) -> PolicyMemory:
        return self.memories.get(policy_id, NOTHING)

    def load(self, stored: Iterable[StoredMemory]) -> None:
        """What is remembered here is newer than what is stored."""
        for each in stored:
            self.memories.setdefault(each.policy_id, unpacked(each.memory))

    def keep(self, verdict: Verdict) -> None:
        """One that need not be committed: its memory alone may wait."""
        self.memories |= verdict.memories
        self._unsaved |= dict.fromkeys(verdict.memories, verdict.before.id)

    def unsaved(self, verdicts: Iterable[Verdict] = ()) -> Unsaved:
        """Of policies that none of the verdicts has something new to remember of."""
        decided = {policy_id for verdict in verdicts for policy_id in verdict.memories}
        return {
            policy_id: (portfolio_id, self.memories[policy_id])
            for policy_id, portfolio_id in self._unsaved.items()
            if policy_id not in decided
        }

    def saved(self, unsaved: Unsaved) -> None:
        for policy_id, (_, memory) in unsaved.items():
            if self.memories[policy_id] is memory:  # else it went on while this was written
                self._unsaved.pop(policy_id, None)

    def committed(self, verdict: Verdict) -> None:
        self.memories |= verdict.memories
        for policy_id in verdict.memories:
            self._unsaved.pop(policy_id, None)
