"""What readings cost a device, and what they would have cost had every candidate been read in full."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from ...kernels.problem import Problem
from .meter import Spending


@dataclass(slots=True)
class Account:
    """Of one problem: seconds spent, the cost of a round of each candidate, the rounds of a race that none leaves."""

    spent_s: float = 0.0
    rounds_s: list[float] = field(default_factory=list)
    rounds: int = 0


class Ledger:
    """Keeps an account a problem."""

    def __init__(self) -> None:
        self._accounts: defaultdict[Problem, Account] = defaultdict(Account)

    def trial(self, problem: Problem, spent_s: float, round_s: float) -> None:
        account = self._accounts[problem]
        account.spent_s += spent_s
        if round_s:
            account.rounds_s.append(round_s)

    def race(self, problem: Problem, spent_s: float, rounds: int) -> None:
        account = self._accounts[problem]
        account.spent_s += spent_s
        account.rounds = max(account.rounds, rounds)

    def total(self) -> Spending:
        """Of the problems that were raced: without a race there is no telling what in full is."""
        raced = [account for account in self._accounts.values() if account.rounds]
        in_full = sum(account.rounds * sum(account.rounds_s) for account in raced)
        return Spending(sum(account.spent_s for account in raced), in_full)
