"""The client: ask before an agent acts, report how it went, and operate the circuits.

from cstp_server.client import Client, DecisionBlocked, governed

with Client("http://127.0.0.1:8787", token="cstp_…") as client:
    try:
        with governed(client, "Refund order 1142", type="issue_refund", parameters={"amount": 40}):
            refund(1142)
    except DecisionBlocked as blocked:
        print(blocked)
"""

from cstp_server.client.clients import AsyncClient, Client
from cstp_server.client.errors import (
    BadAnswer,
    CircuitNotFound,
    Conflict,
    CstpError,
    DecisionBlocked,
    DecisionNotFound,
    Forbidden,
    InternalError,
    InvalidParams,
    InvalidRequest,
    MethodNotFound,
    Overloaded,
    RateLimited,
    RpcError,
    StoreUnavailable,
    Unauthorized,
    Unreachable,
    Unsendable,
    describe_remedy,
)
from cstp_server.client.exchange import NO_RETRY, Retry
from cstp_server.client.governing import AsyncGoverned, Governed, GovernedDecision, current_decision, governed
from cstp_server.client.proposals import Proposal
from cstp_server.client.results import (
    Check,
    Circuit,
    CircuitChange,
    CircuitMove,
    Decision,
    Finding,
    Guardrail,
    Guardrails,
    History,
    Pending,
    Probe,
    Recorded,
    Reloaded,
    Remedy,
    Review,
    Transition,
)

__all__ = [
    "NO_RETRY",
    "AsyncClient",
    "AsyncGoverned",
    "BadAnswer",
    "Check",
    "Circuit",
    "CircuitChange",
    "CircuitMove",
    "CircuitNotFound",
    "Client",
    "Conflict",
    "CstpError",
    "Decision",
    "DecisionBlocked",
    "DecisionNotFound",
    "Finding",
    "Forbidden",
    "Governed",
    "GovernedDecision",
    "Guardrail",
    "Guardrails",
    "History",
    "InternalError",
    "InvalidParams",
    "InvalidRequest",
    "MethodNotFound",
    "Overloaded",
    "Pending",
    "Probe",
    "Proposal",
    "RateLimited",
    "Recorded",
    "Reloaded",
    "Remedy",
    "Retry",
    "Review",
    "RpcError",
    "StoreUnavailable",
    "Transition",
    "Unauthorized",
    "Unreachable",
    "Unsendable",
    "current_decision",
    "describe_remedy",
    "governed",
]
