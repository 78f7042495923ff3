"""The trust of one user in one domain, as an assistant holds it: `TrustBreaker`, and `AsyncTrustBreaker` for an `AsyncClient`.

The state is the service's: every assistant sees the same, it survives them all, and there is nothing to save or to load. A breaker is
cheap to make, and may be made anew for each call.
"""

import inspect
import threading
from collections.abc import Callable
from enum import StrEnum
from typing import NotRequired, TypedDict

from cstp_server.client.clients import AsyncClient, Client
from cstp_server.client.errors import BadAnswer, PolicyNotStrict
from cstp_server.client.proposals import TrustDamageType
from cstp_server.client.results import AutonomyLevel, RecoveryProgress, TrustRecord, TrustReset

DEFAULT_DOMAIN = "general"
STRICT_THRESHOLD = 2
STRICT_SUCCESSES = 10
"""What `preset: strict` says in the service's policy: the damage that reduces trust, and the successes that restore it."""


class TrustState(StrEnum):
    """How freely the AI acts for a user: it does, or only where little is at stake, or only as the user confirms."""

    FULL_AUTONOMY = "full_autonomy"
    SUPERVISED = "supervised"
    REDUCED_AUTONOMY = "reduced_autonomy"


OnStateChange = Callable[[TrustState, TrustState], object]
"""Told the state that a breaker saw before, and the one that it sees now. `AsyncTrustBreaker` awaits what it returns, if that can be."""


class RecoveryInfo(TypedDict):
    """How far trust has come back; `time_remaining_hours` is there while it has to wait."""

    status: str
    progress: float
    successes: int
    required: int
    time_remaining_hours: NotRequired[float]


class AutonomyInfo(TypedDict):
    """How freely the AI may act, as a plain mapping."""

    state: str
    can_act_freely: bool
    damage_score: float
    damage_threshold: float
    time_in_state_hours: float
    recovery_progress: RecoveryInfo
    recent_damage_count: int


class TrustBreaker:
    """The trust of a user in the AI, in one domain.

        breaker = TrustBreaker("user_123", domain="code_review", client=client)
        if breaker.should_require_confirmation("file_write") and not ask_user("Should I write this file?"):
            return
        write_file(path, content)
        breaker.record_success("File written successfully")

    Thresholds, weights and the actions of high impact are those of the service's policy (`trust`). Every method and every property but
    `user_id` and `domain` asks the service, and raises `CstpError` when that cannot answer: whoever goes on then, goes on unasked.
    """

    def __init__(self, user_id: str, domain: str = DEFAULT_DOMAIN, *, client: Client) -> None:
        self.user_id = user_id
        self.domain = domain
        self._client = client
        self._watch = _Watch()

    def __repr__(self) -> str:
        return f"TrustBreaker({self.user_id!r}, domain={self.domain!r})"

    @property
    def state(self) -> TrustState:
        """How freely the AI may act now."""
        return _state(self._look().state)

    @property
    def damage_score(self) -> float:
        """What the damage within the window counts for now."""
        return self._look().damage_score

    @property
    def time_in_current_state(self) -> float:
        """For how many hours the state has been what it is; 0 where nothing has ever happened."""
        return self._look().time_in_state_hours

    def should_require_confirmation(self, action: str | None = None) -> bool:
        """Whether an action of that type wants the user's confirmation now; one that is not named may be any."""
        answer = self._client.should_require_confirmation(self.user_id, action, domain=self.domain)
        self._watch.see(answer.state)
        return answer.required

    def record_damage(
        self,
        damage_type: TrustDamageType | str,
        context: str | None = None,
        severity: float | None = None,
        user_explicit: bool = False,
        *,
        id: str | None = None,
    ) -> TrustRecord:
        """Say that something went wrong for the user; `severity`, above 0 and at most 1, is how much of the type's weight counts.

        The call is repeated by itself when an answer is lost, and counted once. `id` is for callers who repeat it themselves.
        """
        told = self._client.record_damage(
            self.user_id, damage_type, domain=self.domain, severity=severity, context=context, user_explicit=user_explicit, id=id
        )
        self._watch.see(told.state, told.previous_state)
        return told

    def record_success(self, context: str | None = None, user_explicit: bool = False, *, id: str | None = None) -> TrustRecord:
        """Say that the user was content, which restores trust while it is under test; repeated and counted like a damage."""
        told = self._client.record_success(self.user_id, domain=self.domain, context=context, user_explicit=user_explicit, id=id)
        self._watch.see(told.state, told.previous_state)
        return told

    def get_autonomy_level(self) -> AutonomyInfo:
        """All that is known of the user's trust now, ready to be shown."""
        return _info(self._look())

    def reset(self, reason: str | None = None) -> TrustReset:
        """Make trust whole again, whatever happened to it. Needs the role `ops`."""
        done = self._client.reset_trust(self.user_id, domain=self.domain, reason=reason)
        self._watch.see(done.state, done.previous_state)
        return done

    def on_state_change(self, callback: OnStateChange) -> OnStateChange:
        """Tell `callback` when a call of this breaker sees another state than it saw before, and return it.

        What time does, or another assistant, is seen by the next call. An exception of the callback leaves that call, whose work is done.
        """
        if inspect.iscoroutinefunction(callback):
            raise TypeError("the callback is an `async def` function: use an `AsyncTrustBreaker`, or a plain function")
        self._watch.callbacks.append(callback)
        return callback

    def require_strict(self) -> None:
        """See that the service's policy is as strict with this domain as `preset: strict`. Raises `PolicyNotStrict`."""
        _require_strict(self._look())

    def _look(self) -> AutonomyLevel:
        level = self._client.get_autonomy_level(self.user_id, domain=self.domain)
        self._watch.see(level.state)
        return level


class AsyncTrustBreaker:
    """The trust of a user in the AI, in one domain, for an `AsyncClient`: as `TrustBreaker`, to be awaited; its properties are methods."""

    def __init__(self, user_id: str, domain: str = DEFAULT_DOMAIN, *, client: AsyncClient) -> None:
        self.user_id = user_id
        self.domain = domain
        self._client = client
        self._watch = _Watch()

    def __repr__(self) -> str:
        return f"AsyncTrustBreaker({self.user_id!r}, domain={self.domain!r})"

    async def state(self) -> TrustState:
        """How freely the AI may act now."""
        return _state((await self._look()).state)

    async def damage_score(self) -> float:
        """What the damage within the window counts for now."""
        return (await self._look()).damage_score

    async def time_in_current_state(self) -> float:
        """For how many hours the state has been what it is; 0 where nothing has ever happened."""
        return (await self._look()).time_in_state_hours

    async def should_require_confirmation(self, action: str | None = None) -> bool:
        """Whether an action of that type wants the user's confirmation now; one that is not named may be any."""
        answer = await self._client.should_require_confirmation(self.user_id, action, domain=self.domain)
        await _all(self._watch.see(answer.state))
        return answer.required

    async def record_damage(
        self,
        damage_type: TrustDamageType | str,
        context: str | None = None,
        severity: float | None = None,
        user_explicit: bool = False,
        *,
        id: str | None = None,
    ) -> TrustRecord:
        """Say that something went wrong for the user; as `TrustBreaker.record_damage`."""
        told = await self._client.record_damage(
            self.user_id, damage_type, domain=self.domain, severity=severity, context=context, user_explicit=user_explicit, id=id
        )
        await _all(self._watch.see(told.state, told.previous_state))
        return told

    async def record_success(self, context: str | None = None, user_explicit: bool = False, *, id: str | None = None) -> TrustRecord:
        """Say that the user was content; as `TrustBreaker.record_success`."""
        told = await self._client.record_success(self.user_id, domain=self.domain, context=context, user_explicit=user_explicit, id=id)
        await _all(self._watch.see(told.state, told.previous_state))
        return told

    async def get_autonomy_level(self) -> AutonomyInfo:
        """All that is known of the user's trust now, ready to be shown."""
        return _info(await self._look())

    async def reset(self, reason: str | None = None) -> TrustReset:
        """Make trust whole again, whatever happened to it. Needs the role `ops`."""
        done = await self._client.reset_trust(self.user_id, domain=self.domain, reason=reason)
        await _all(self._watch.see(done.state, done.previous_state))
        return done

    def on_state_change(self, callback: OnStateChange) -> OnStateChange:
        """Tell `callback` when a call of this breaker sees another state than it saw before, and return it."""
        self._watch.callbacks.append(callback)
        return callback

    async def require_strict(self) -> None:
        """See that the service's policy is as strict with this domain as `preset: strict`. Raises `PolicyNotStrict`."""
        _require_strict(await self._look())

    async def _look(self) -> AutonomyLevel:
        level = await self._client.get_autonomy_level(self.user_id, domain=self.domain)
        await _all(self._watch.see(level.state))
        return level


def create_trust_breaker(user_id: str, strict: bool = False, domain: str = DEFAULT_DOMAIN, *, client: Client) -> TrustBreaker:
    """A breaker; with `strict`, one whose domain the service's policy is strict with, or `PolicyNotStrict`.

    How many mistakes are allowed is the policy's to say and the same for every assistant, so that `strict` asks for it and changes
    nothing: `trust: {domains: {payments: {preset: strict}}}` in the policy does.

        create_trust_breaker("user_123", domain="payments", strict=True, client=client)
    """
    breaker = TrustBreaker(user_id, domain, client=client)
    if strict:
        breaker.require_strict()
    return breaker


class _Watch:
    """The state that a breaker saw last, and who wants to be told of another one."""

    def __init__(self) -> None:
        self.callbacks: list[OnStateChange] = []
        self._seen: TrustState | None = None
        self._lock = threading.Lock()

    def see(self, now: str, before: str | None = None) -> list[object]:
        """Tell everybody, if it is another one; what they return. `before` is what an answer says it was, for who has seen none."""
        state = _state(now)
        with self._lock:
            seen = self._seen if self._seen is not None or before is None else _state(before)
            self._seen = state
        if seen is None or seen is state:
            return []
        return [callback(seen, state) for callback in self.callbacks]


async def _all(returned: list[object]) -> None:
    for value in returned:
        if inspect.isawaitable(value):
            await value


def _state(name: str) -> TrustState:
    try:
        return TrustState(name)
    except ValueError:
        raise BadAnswer(
            f"the answer has a state of trust `{name}`, which this client does not know: is it older than the server?"
        ) from None


def _info(level: AutonomyLevel) -> AutonomyInfo:
    return {
        "state": level.state,
        "can_act_freely": level.can_act_freely,
        "damage_score": level.damage_score,
        "damage_threshold": level.damage_threshold,
        "time_in_state_hours": level.time_in_state_hours,
        "recovery_progress": _recovery_info(level.recovery_progress),
        "recent_damage_count": level.recent_damage_count,
    }


def _recovery_info(recovery: RecoveryProgress) -> RecoveryInfo:
    info: RecoveryInfo = {
        "status": recovery.status,
        "progress": recovery.progress,
        "successes": recovery.successes,
        "required": recovery.required,
    }
    if recovery.time_remaining_hours is not None:
        info["time_remaining_hours"] = recovery.time_remaining_hours
    return info


def _require_strict(level: AutonomyLevel) -> None:
    threshold, required = level.damage_threshold, level.recovery_progress.required
    if threshold > STRICT_THRESHOLD or required < STRICT_SUCCESSES:
        raise PolicyNotStrict(
            f"the policy is not strict with the domain `{level.domain}`: trust is reduced at {threshold:g} and restored by {required} "
            f"successes, strict is at most {STRICT_THRESHOLD} and at least {STRICT_SUCCESSES}; "
            f"an operator sets `trust.domains.{level.domain}.preset` to `strict`"
        )
