"""A fleet at work: agents ask, CI reports, some misbehave, people are damaged; told to a running service over its own protocol."""

from typing import Any

from tests.server import RunningServer
from tests.shifted import ShiftedServer

POLICY = """
classification:
  - when: action.parameters.amount > 1000
    stakes: high
    tags: [large]
circuit_breakers:
  - {scope: "category:tooling", failure_threshold: 5, window_ms: 3600000, cooldown_ms: 1800000}
  - {scope: "category:billing", failure_threshold: 5, window_ms: 3600000, cooldown_ms: 900000}
  - {scope: "category:support", failure_threshold: 5, window_ms: 3600000, cooldown_ms: 600000, half_open_probes: 2, half_open_successes: 40}
  - {scope: "stakes:high", failure_threshold: 20, window_ms: 86400000, cooldown_ms: 3600000}
  - {scope: "agent:*", failure_threshold: 8, window_ms: 3600000, cooldown_ms: 300000, cooldown_multiplier: 2, half_open_probes: 2}
  - {scope: "tag:*", failure_threshold: 20, window_ms: 3600000, cooldown_ms: 300000}
  - {scope: global, failure_threshold: 1000, failure_rate_threshold: 0.5, minimum_decisions: 50, window_ms: 900000, mode: shadow}
tripwires:
  limits: {max_refund: 500, daily_action_limit: 200, budget_limit: 10000}
  rules:
    - {name: no-customer-export, severity: severe, when: 'action.type == "export_customers"'}
agents:
  "*": {posture: supervised, acl_tier: 2}
  careful-bot: {posture: human_decides}
postures: {approval_ttl_ms: 3600000}
trust:
  domains: {"*": {damage_threshold: 3}}
guardrails:
  - id: no-production-without-review
    description: production changes need a code review
    when: action.context.affectsProduction == true
    requires: [codeReviewCompleted]
    action: block
    message: production changes require a completed code review
  - {id: describe-what-you-do, description: short ones help nobody, when: size(action.description) < 10, action: warn, message: describe it}
"""

_WORK = (
    ("refactor-bot", "tooling", "refactor", "Split the invoice module in two"),
    ("code-reviewer", "tooling", "review", "Review the change of the retry policy"),
    ("docs-writer", "writing", "write", "Describe the new export of reports"),
    ("deploy-bot", "release", "deploy", "Roll out the search service to two machines"),
    ("support-bot", "support", "answer", "Answer the question about a late parcel"),
    ("billing-bot", "billing", "invoice", "Send the invoices of the week"),
)
_ROUNDS = (1, 2, 1, 3, 2, 1, 1, 2)


class Fleet:
    """What the agents, CI and operators of a service say to it. `ops` and `ci` are their tokens."""

    def __init__(self, server: RunningServer, ops: str, ci: str) -> None:
        self.server = server
        self.ops = ops
        self.ci = ci
        self._reviewed = 0

    def check(self, agent: str, description: str, **action: Any) -> dict[str, Any]:
        """One check of an agent."""
        user = action.pop("user", None)
        params: dict[str, Any] = {"action": {"description": description, **action}, "agent": {"id": agent}}
        if user is not None:
            params["user"] = user
        answer: dict[str, Any] = self.server.call("cstp.checkGuardrails", params, token=self.ops)
        return answer

    def review(self, id: str, outcome: str, **more: Any) -> dict[str, Any]:
        """One outcome."""
        answer: dict[str, Any] = self.server.call("cstp.reviewDecision", {"id": id, "outcome": outcome, **more}, token=self.ci)
        return answer

    def fail(self, agent: str, category: str, times: int) -> None:
        """So many decisions that go wrong."""
        for number in range(times):
            id = self.check(agent, f"apply change number {number} to the pipeline", category=category)["decisionId"]
            self.review(id, "failure", notes="the tests of the pipeline fail")

    def work(self, rounds: int) -> None:
        """The daily business, of which little goes wrong."""
        for number in range(rounds):
            for place, (agent, category, kind, description) in enumerate(_WORK):
                tags = [kind] if place % 2 else ["nightly"]
                answer = self.check(agent, f"{description}, part {number + 1}", category=category, type=kind, tags=tags, confidence=0.9)
                if answer["allowed"] and number % 4 != 3:
                    self.review(answer["decisionId"], "failure" if self._reviewed % 17 == 16 else "success")
                    self._reviewed += 1

    def live_through_an_hour(self) -> None:
        """Most of an hour of work, with a circuit that opened and healed in it, and then trouble. The service must be a `ShiftedServer`."""
        assert isinstance(self.server, ShiftedServer)
        for minute in range(34):
            self.work(_ROUNDS[minute % len(_ROUNDS)])
            if minute in (4, 9, 10, 11):
                self.damage("user_123", "billing", "repetitive_error")
            if minute == 12:
                self.damage("user_7", "code_review", "slow_response")
                self.damage("user_42", "chat", "wrong_answer")
            if minute == 14:
                self.fail("billing-bot", "billing", 5)
            if minute == 16:
                self.server.call("cstp.resetCircuit", {"scope": "category:billing", "reason": "the bank is back"}, token=self.ops)
            if minute == 24:
                self.fail("support-bot", "support", 5)
            self.server.advance(0.025)
        self.misbehave()
        self.server.advance(0.04)
        self.work(1)

    def misbehave(self) -> None:
        """What people must look at."""
        for number in range(3):
            refund = {"amount": 600 + 50 * number, "order": f"A-{1140 + number}"}
            self.check("refund-bot", f"Refund order A-{1140 + number} in full", type="issue_refund", category="billing", parameters=refund)
        self.check("careful-bot", "Write to all customers about the new prices", type="send_mail", category="outreach", stakes="high")
        self.check("deploy-bot", "Deploy the payment service", category="release", context={"affectsProduction": True})
        self.server.call("cstp.tripCircuit", {"scope": "agent:night-shift", "reason": "it is being rebuilt"}, token=self.ops)
        self.fail("refactor-bot", "tooling", 6)
        self.check("rogue-agent", "Copy the customers to another machine", type="export_customers", category="data")

    def damage(self, user: str, domain: str, kind: str) -> None:
        """One damage to a user's trust."""
        self.server.call("cstp.recordDamage", {"userId": user, "domain": domain, "damageType": kind}, token=self.ci)
