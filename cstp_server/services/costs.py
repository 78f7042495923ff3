"""What an action counts for in quotas and budgets once it is known how it turned out (SPEC 7)."""

from cstp_server.domain.amounts import amount_of
from cstp_server.domain.decisions import Decision, Outcome, Review
from cstp_server.domain.usage import Claim
from cstp_server.policy.compiled import SelfReported
from cstp_server.services.ledger import Amounts


def costs(decision: Decision, review: Review) -> Amounts:
    """What each claim of a reviewed decision is to count for.

    An abandoned action gives back what it had reserved of budgets, and, if it had never been let through, its place in quotas too.
    A budget takes the actual cost in the place of what was reserved, where the reviewer knows it.
    """
    was_allowed, actual = decision.was_allowed, amount_of(review.actual_cost)

    def cost(claim: Claim) -> int:
        if review.outcome is Outcome.ABANDONED and (claim.returns or not was_allowed):
            return 0
        return actual if claim.settles and actual is not None else claim.reserved

    return cost


def costs_told_by(decision: Decision, review: Review, counts: SelfReported) -> Amounts:
    """As `costs`, as far as the policy lets the reviewer move anything, who may be the decision's own agent (SPEC 4).

    Where only what makes the agent look worse counts, no budget gets anything back.
    """
    cost = costs(decision, review)
    if counts is SelfReported.COUNT:
        return cost
    if counts is SelfReported.IGNORE:
        return _as_before
    return lambda claim: max(claim.amount, cost(claim))


def _as_before(claim: Claim) -> int:
    return claim.amount
