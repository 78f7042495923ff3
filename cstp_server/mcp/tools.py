"""The tools, as models read them: what each is for, when to use it, and what to give it."""

from collections.abc import Mapping
from dataclasses import field

from cstp_server.domain.callers import Caller, Role
from cstp_server.domain.values import dataclass

INSTRUCTIONS = """This service decides what AI agents may do, and records it.

Before every action that changes something outside of this conversation (writes, deletes, deploys, payments, messages, calls to other
systems), call `check_guardrails` and act only if the result says `allowed: true`. Describe the action as it really is: the same action in
other words is judged the same, and every attempt is on record. Every result says in `next` what to do now. If it says `pending`, call
`await_decision` with its `decisionId` and act only once that says `allowed: true`. If the service cannot be reached, or a tool fails, do
not act."""

_DECISION = "the `decisionId` that `check_guardrails` answered"
_SCOPE = (
    "which circuit: `global`, `category:<name>`, `stakes:<level>`, `agent:<id>`, `tag:<name>` or `user:<id>/<domain>`; `list_circuits` "
    "tells which there are"
)
_USER_DOMAIN = "what the trust is about, such as `billing`; `general` when left out"


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool: the method that it calls, and what models are told of it.

    `params` documents each param by its path (`action.stakes`), beyond what the method's own schema says; `hidden` are params that models
    have no use for. `roles`: any one of them will do; empty for those of the method. `next` says that its result tells what to do now.
    """

    name: str
    method: str
    title: str
    description: str
    params: Mapping[str, str]
    hidden: tuple[str, ...] = ()
    roles: tuple[Role, ...] = ()
    read_only: bool = True
    destructive: bool = False
    idempotent: bool = True
    next: bool = field(default=False)

    def open_to(self, caller: Caller, roles: tuple[Role, ...]) -> bool:
        """Whether the caller may use it; `roles` are those of its method."""
        return caller.may(*(self.roles or roles))


_BACKGROUND = (
    "reasons", "pattern", "bridge", "deliberation", "trace", "relatedTo", "kpiIndicators", "mentalState", "reviewIn", "preDecision",
    "project", "feature", "pr", "file", "line", "commit", "projectContext",
)  # fmt: skip

TOOLS: tuple[Tool, ...] = (
    Tool(
        "check_guardrails",
        "cstp.checkGuardrails",
        "Ask before acting",
        "Ask whether an action may go on, right before you take it. Use it before every action with an effect outside of this "
        "conversation. "
        "Only `allowed: true` lets you act, and only on exactly this action: another amount, target or recipient is another action, with a "
        "check of its own. A refusal is a normal result: `violations` has every reason, `remedies` the changes that would each be enough, "
        "`next` what to do now. With `pending`, somebody is being asked: wait with `await_decision`. Keep `decisionId`: the outcome is "
        "reported under it.",
        {
            "action": "what you are about to do, as it really is",
            "action.description": "one sentence for people: what you do, to what, and why, such as `Refund order 1142: item arrived "
            "broken`",
            "action.type": "the kind of action as `verb_object`, such as `issue_refund`, `deploy`, `send_email`; limits go by it, so name "
            "it "
            "alike each time",
            "action.category": "the area that it belongs to, such as `billing`, `deployment`, `tooling`",
            "action.stakes": "what a mistake would cost: `low` is undone in a minute, `critical` cannot be undone; `medium` when left out",
            "action.confidence": "how sure you are that it is right, from 0 to 1",
            "action.ctq": "how good your reasoning for it is, from 0 to 1; it lifts no limit",
            "action.tags": "words that rules may go by, such as `refund`",
            "action.parameters": 'the arguments that you will act with, as they will be: `{"amount": 40, "currency": "EUR"}`; limits are '
            "checked against them",
            "action.context": 'facts that rules may ask for, such as `{"codeReviewCompleted": true}`; say only what you know to be true',
            "agent": "who acts; leave it out unless several agents share this connection",
            "agent.id": "the agent's id; must be the token's own agent where the token is bound to one",
            "user": "the person for whom you act, if there is one: their trust decides too",
            "user.id": "the person's id",
            "user.domain": _USER_DOMAIN,
            "decisionId": "leave it out. Give an id of your own only to be able to ask again for the same answer when none arrived",
            "dryRun": "true only asks what the answer would be, and stores nothing; it never lets you act",
        },
        hidden=(*(f"action.{name}" for name in _BACKGROUND), "agent.url", "agent.name", "agent.version"),
        read_only=False,
        idempotent=False,
        next=True,
    ),
    Tool(
        "review_decision",
        "cstp.reviewDecision",
        "Report an outcome",
        "Report how a decision turned out, once that is known: circuit breakers, trust and autonomy rest on it. For those who check the "
        "work "
        "of agents (CI, a person); an agent does not grade itself. The same report again counts once; another outcome for the same "
        "decision "
        "is a conflict.",
        {
            "id": _DECISION,
            "outcome": "`success`: it did what it should. `partial`: only in part. `failure`: it did harm or did not work. `abandoned`: it "
            "was "
            "never carried out",
            "severity": "how bad a failure was; `medium` when left out",
            "errorType": "the kind of error in one word, such as `Timeout`",
            "damageType": "what a failure did to the user's trust; `wrong_answer` when left out",
            "userExplicit": "true when the user said so in words",
            "actualCost": "what it really cost, in the unit of the action's amount; settles its budget",
            "actualResult": "what came out, in a sentence",
            "lessons": "what to do otherwise next time",
            "notes": "anything else worth keeping",
            "affectedKpis": 'by how much each figure moved, such as `{"latency_ms": 12}`',
            "amend": "true replaces an earlier report that was wrong; takes the role `ops`",
        },
        hidden=("decision",),
        read_only=False,
    ),
    Tool(
        "await_decision",
        "cstp.awaitDecision",
        "Wait for a pending decision",
        "Wait until a decision that is `pending` is settled: approved or denied by a person, confirmed or cancelled by its user, or let "
        "through when its cancel window is over. Answers as soon as it is. When the time is up first, `status` is still `pending`: call it "
        "again, or do something else meanwhile. Act only on `allowed: true`.",
        {
            "id": _DECISION,
            "timeoutMs": "how long to wait at most; 30000 when left out. Keep it below the time that your client gives a tool, often 60 "
            "seconds",
        },
        next=True,
    ),
    Tool(
        "get_circuit_state",
        "cstp.getCircuitState",
        "Look at one circuit breaker",
        "How one circuit breaker stands: `closed` lets decisions through, `open` blocks them until `resetAt`, `half_open` lets a few "
        "through "
        "as probes. Use it to understand a refusal of type `circuit_breaker`, whose `scope` it takes; asking does not change it.",
        {"scope": _SCOPE},
    ),
    Tool(
        "list_circuits",
        "cstp.listCircuits",
        "List circuit breakers",
        "The circuit breakers by scope, a page at a time. Use it with `state: open` to see what is blocked now.",
        {
            "state": "only circuits in this state",
            "prefix": "only scopes that begin so, such as `agent:` or `category:`",
            "limit": "how many at most; 100 when left out",
            "cursor": "the `nextCursor` of the page before",
        },
    ),
    Tool(
        "get_autonomy_level",
        "cstp.getAutonomyLevel",
        "Look at a user's trust",
        "How freely you may act for a user: `full_autonomy` acts freely, `supervised` needs their confirmation for high-impact actions, "
        "`reduced_autonomy` for every action. `check_guardrails` with `user` looks at it by itself.",
        {"userId": "the person's id", "domain": _USER_DOMAIN},
    ),
    Tool(
        "get_posture",
        "cstp.getPosture",
        "Look at an agent's posture",
        "How much autonomy an agent has and why: from 5, `full_autonomy`, to 1, `blocked`. `supervised` (3) acts within the rules, "
        "`human_decides` (2) has every action approved by a person. With it come the agent's trust score and what it takes to earn more.",
        {"agentId": "the agent; a token that is bound to an agent sees only its own"},
    ),
    Tool(
        "reset_circuit",
        "cstp.resetCircuit",
        "Close a circuit breaker",
        "For operators: close an open circuit breaker and forget its failures, or with `probeFirst` let it prove itself with a probe. Only "
        "when a person asked for it and the cause of the failures is gone: it lets blocked actions go on.",
        {
            "scope": _SCOPE,
            "probeFirst": "true opens it only for probes, and their outcome decides: the careful way",
            "reason": "why, for the record: what was wrong and what was done about it",
        },
        roles=(Role.OPS,),
        read_only=False,
        destructive=True,
        idempotent=False,
    ),
    Tool(
        "resolve_decision",
        "cstp.resolveDecision",
        "Settle a pending decision",
        "For operators: approve or deny a decision that waits, or confirm or cancel it for its user. Only when a person has decided so; "
        "never "
        "for an action of your own. It is looked at again before it goes on: `allowed` says whether it does.",
        {
            "id": "the `decisionId` of the decision that waits",
            "resolution": "`approve` or `deny` what waits for an approval; `confirm` what waits for its user; `cancel` any",
            "note": "who decided and why, for the record",
        },
        roles=(Role.OPS,),
        read_only=False,
        destructive=True,
        idempotent=False,
    ),
)
"""To add a tool takes an entry here, and a method of the service that it calls."""
