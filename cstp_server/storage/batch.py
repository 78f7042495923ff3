"""The use cases of one transaction: what they need is read together, and each decides on what the ones before it left."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from cstp_server.correlation import CURRENT
from cstp_server.domain.circuit_state import State
from cstp_server.domain.refusals import Unauthorized
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Policy
from cstp_server.services.ports import Decided, Needs
from cstp_server.storage.calls import Job
from cstp_server.storage.loading import Key, Loader, TenantView
from cstp_server.storage.tokens import Tokens
from cstp_server.storage.writing import Writer

_MOST_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Faulted(Exception):
    """A call's own code raised: a fault of ours, and nothing of that call is carried out."""

    job: Job
    cause: Exception


class Batch:
    """The use cases of one transaction."""

    def __init__(self, policy: Policy, loader: Loader, writer: Writer, tokens: Tokens, tokens_version: int) -> None:
        self._policy = policy
        self._loader = loader
        self._writer = writer
        self._tokens = tokens
        self._tokens_version = tokens_version
        self._views: dict[str, TenantView] = {}
        self._changed_decisions: set[Key] = set()
        self._changed_circuits: set[Key] = set()
        self._changed_postures: set[Key] = set()
        self._rewritten = False

    def load(self, jobs: Sequence[Job]) -> None:
        """Read what all of them need, until none needs more.

        First the decisions, which tell what else there is to read, and last of all the agents to be moved: whatever is in a batch, it takes
        its locks in one order, so that two of them cannot each wait for the other.
        """
        for job in jobs:
            self._ask(job)
        known = [job for job in jobs if job.needs.decisions]
        if known:
            self._loader.load_rows([(job.use_case.tenant, Needs(job.needs.decisions)) for job in known])
            for job in known:
                self._ask(job)
        self._load(jobs, _unmoved)
        self._load([job for job in jobs if job.needs.moves], _all)

    def _load(self, jobs: Sequence[Job], part: Callable[[Needs], Needs]) -> None:
        """Read that part of what they need, until none needs more of it."""
        asking = jobs
        for _ in range(_MOST_ROUNDS):
            asking = [job for job in asking if self._loader.missing_rows(job.use_case.tenant, part(job.needs))]
            if not asking:
                return
            self._loader.load_rows([(job.use_case.tenant, part(job.needs)) for job in asking])
            asking = [job for job in asking if not job.needs.final]
            for job in asking:
                self._ask(job)

    def decide(self, job: Job, now: int) -> Any:
        """One use case's answer; its changes are there for the next one."""
        CURRENT.set(job.correlation_id)
        use_case = job.use_case
        caller = use_case.caller
        if caller is not None and not self._tokens.is_valid_at(caller, self._tokens_version, self._loader.connection):
            return Unauthorized("the token was revoked")
        if self._is_overtaken(job):
            self._complete(job, now)
        try:
            decided = use_case.decide(self._policy, self._view(use_case.tenant), now)
        except Exception as fault:  # one call's fault must not undo the others' changes
            raise Faulted(job, fault) from fault
        self._loader.forget_logs()
        self._take_over(use_case.tenant, decided)
        return decided.answer

    def _take_over(self, tenant: str, decided: Decided[Any]) -> None:
        for decision in (decided.new_decision, decided.changed_decision):
            if decision is not None:
                self._changed_decisions.add((tenant, decision.id))
        self._changed_circuits.update([(tenant, changed.circuit.scope) for changed in decided.circuits])
        self._changed_postures.update([(tenant, posture.agent_id) for posture in decided.postures])
        if self._writer.apply(tenant, decided):
            self._writer.flush()
            for changed in decided.circuits:
                self._loader.forget_past((tenant, changed.circuit.scope))
            self._rewritten = True

    def _is_overtaken(self, job: Job) -> bool:
        """Whether an earlier use case may have changed what this one needs: its decision, its agent, or a log it reads."""
        if self._rewritten or any((job.use_case.tenant, id) in self._changed_decisions for id in job.needs.decisions):
            return True
        if self._changed_circuits and self._moves_others(job):
            return True
        if self._changed_postures and any((job.use_case.tenant, agent_id) in self._changed_postures for agent_id in job.needs.postures):
            return True
        return any(need.log_from is not None for need in job.needs.circuits.values()) if job.needs.decisions else False

    def _moves_others(self, job: Job) -> bool:
        """Whether a circuit of this use case, changed since it was asked, may move the postures of other agents than it said then."""
        tenant, circuits = job.use_case.tenant, self._loader.loaded.circuits
        return any(
            (tenant, scope) in self._changed_circuits
            and (need.settings.downgrade_to is not None or circuits[tenant, scope].state is not State.CLOSED)
            for scope, need in job.needs.circuits.items()
            if need.writes
        )

    def _complete(self, job: Job, now: int) -> None:
        """Read what this use case needs only since an earlier one of the batch changed something."""
        for _ in range(_MOST_ROUNDS):
            self._ask(job)
            found = (job.use_case.tenant, job.needs)
            if not self._loader.missing(*found):
                return
            if any(need.log_from is not None for need in job.needs.circuits.values()):
                self._writer.flush()
            self._loader.load_rows([found])
            self._loader.load_pasts([found], now)
            self._loader.load_logs([found])

    def _ask(self, job: Job) -> None:
        try:
            job.needs = job.use_case.needs(self._policy, self._view(job.use_case.tenant))
        except Exception as fault:
            raise Faulted(job, fault) from fault

    def _view(self, tenant: str) -> TenantView:
        view = self._views.get(tenant)
        if view is None:
            view = self._views[tenant] = TenantView(self._loader.loaded, tenant)
        return view


def _unmoved(needs: Needs) -> Needs:
    return replace(needs, moves=frozenset()) if needs.moves else needs


def _all(needs: Needs) -> Needs:
    return needs
