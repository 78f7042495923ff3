"""`communication`: whom an agent may talk to (SPEC 9)."""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import Any, NamedTuple

from cstp_server.dimensions.contexts import ABSENT, COMMUNICATION_TARGET, missing
from cstp_server.dimensions.hosts import Host, host_named, host_of
from cstp_server.dimensions.internal_hosts import are_internal_below, is_internal, parents
from cstp_server.dimensions.mappings import check_keys, mode_of, texts_of
from cstp_server.domain.constraints import CheckResult

NONE = "none"
INTERNAL_ONLY = "internal_only"
ALLOWED_DOMAINS = "allowed_domains"
MODES = (NONE, INTERNAL_ONLY, ALLOWED_DOMAINS)
_MODE = "mode"
_BELOW = "*."


class Communication(NamedTuple):
    """Whether only one's own hosts are within, and which hosts are, by name or as `*.` and the name they are below; none: all."""

    internal: bool
    allowed: frozenset[str] | None


class CommunicationDimension:
    """The hosts that may be talked to, compared as a whole. `internal_domains` are the policy's (`internal_hosts.read_domains`)."""

    name = "communication"
    version = "1"
    description = "whom to talk to: `none`, `internal_only`, or `allowed_domains` with a list of hosts and `*.domains`"

    def __init__(self, internal_domains: frozenset[str] = frozenset()) -> None:
        self._internal_domains = internal_domains

    def parse(self, value: Any) -> Communication:
        """`none`, `internal_only`, or a mapping with `mode`, and with `allowed_domains` where that is the mode."""
        if not isinstance(value, Mapping):
            mode = mode_of(value, MODES)
            if mode == ALLOWED_DOMAINS:
                raise ValueError(f"must be a mapping with `{_MODE}` and `{ALLOWED_DOMAINS}` for that mode")
            return _of(mode)
        check_keys(value, (_MODE, ALLOWED_DOMAINS))
        mode = mode_of(value.get(_MODE), MODES, _MODE)
        if mode == ALLOWED_DOMAINS:
            return Communication(internal=False, allowed=_least(map(_pattern, texts_of(value, ALLOWED_DOMAINS))))
        if ALLOWED_DOMAINS in value:
            raise ValueError(f"must not have `{ALLOWED_DOMAINS}` with the mode `{mode}`")
        return _of(mode)

    def check(self, constraint: Communication, context: Mapping[str, Any]) -> CheckResult:
        """The target's host, as the context has it. Null says that there is none."""
        target = context.get(COMMUNICATION_TARGET, ABSENT)
        if target is ABSENT:
            return missing(COMMUNICATION_TARGET)
        if target is None:
            return CheckResult(satisfied=True, reason="nobody is talked to")
        refusal = self._refusal(constraint, target)
        return CheckResult(refusal is None, refusal or "the host may be talked to")

    def tightens(self, parent: Communication, child: Communication) -> bool:
        """Whether every host that the child admits is one that the parent does."""
        if parent.internal and not child.internal and not self._are_internal(child.allowed):
            return False
        if parent.allowed is None:
            return True
        return child.allowed is not None and all(_covers(parent.allowed, pattern) for pattern in child.allowed)

    def compose(self, constraints: Sequence[Communication]) -> Communication:
        """The hosts that all allow."""
        listed = [constraint.allowed for constraint in constraints if constraint.allowed is not None]
        return Communication(any(constraint.internal for constraint in constraints), reduce(_common, listed) if listed else None)

    def _refusal(self, constraint: Communication, target: object) -> str | None:
        if not isinstance(target, str):
            return f"`{COMMUNICATION_TARGET}` must be a text: a URL, a host, or an e-mail address"
        try:
            host = host_of(target)
        except ValueError:
            return f"`{COMMUNICATION_TARGET}` must name one host, in a form that every program reads the same"
        if constraint.internal and not is_internal(host, self._internal_domains):
            return "the host is not an internal one"
        if constraint.allowed is None or _admits(constraint.allowed, host):
            return None
        return "the host is none of those that are allowed" if constraint.allowed else "nobody may be talked to"

    def _are_internal(self, patterns: frozenset[str] | None) -> bool:
        if patterns is None:
            return False
        return all(
            are_internal_below(pattern.removeprefix(_BELOW), self._internal_domains)
            if pattern.startswith(_BELOW)
            else is_internal(host_named(pattern), self._internal_domains)
            for pattern in patterns
        )


def _of(mode: str) -> Communication:
    return Communication(internal=True, allowed=None) if mode == INTERNAL_ONLY else Communication(internal=False, allowed=frozenset())


def _pattern(text: str) -> str:
    """A host, or `*.` and what the hosts are below."""
    below = _BELOW if text.startswith(_BELOW) else ""
    try:
        host = host_named(text.removeprefix(below))
    except ValueError:
        host = None
    if host is None or (below and host.address is not None):
        raise ValueError(f"must have hosts alone in `{ALLOWED_DOMAINS}`, such as `api.example.org` or `*.example.org`")
    return below + host.text


def _admits(patterns: frozenset[str], host: Host) -> bool:
    if host.text in patterns:
        return True
    return host.address is None and any(_BELOW + parent in patterns for parent in parents(host.text))


def _covers(patterns: frozenset[str], pattern: str) -> bool:
    """Whether all hosts of a pattern are among those of the patterns."""
    if pattern in patterns:
        return True
    return any(_BELOW + parent in patterns for parent in parents(pattern.removeprefix(_BELOW)))


def _common(some: frozenset[str], others: frozenset[str]) -> frozenset[str]:
    """The hosts of both: of two patterns that meet, one holds the other."""
    both = {pattern for pattern in some if _covers(others, pattern)} | {pattern for pattern in others if _covers(some, pattern)}
    return _least(both)


def _least(patterns: Iterable[str]) -> frozenset[str]:
    """Without those that another one covers, so that the same hosts are always written the same."""
    every = frozenset(patterns)
    return frozenset(pattern for pattern in every if not _covers(every - {pattern}, pattern))
