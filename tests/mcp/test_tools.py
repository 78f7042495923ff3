"""The tools from end to end, over each transport: who is offered what, and what they answer (SPEC 11)."""

import asyncio

from tests.mcp.conftest import Fleet, Tools, Way, connected, using

_FOR_AGENTS = {"check_guardrails", "await_decision", "get_circuit_state", "list_circuits", "get_autonomy_level", "get_posture"}
_READING = {"await_decision", "get_circuit_state", "list_circuits", "get_autonomy_level", "get_posture"}


def test_each_role_is_offered_the_tools_that_it_may_use(fleet: Fleet, way: Way) -> None:
    """Only operators see the tools that reset and settle, and nobody sees one that would be refused for the role."""
    names = {role: set(using(fleet.server, way, token, Tools.names)) for role, token in vars_of(fleet).items()}
    assert names["agent"] == _FOR_AGENTS
    assert names["ci"] == {"review_decision", "get_autonomy_level"}
    assert names["viewer"] == _READING
    assert names["ops"] == _FOR_AGENTS | {"review_decision", "reset_circuit", "resolve_decision"}


def vars_of(fleet: Fleet) -> dict[str, str]:
    return {"agent": fleet.agent, "ci": fleet.ci, "viewer": fleet.viewer, "ops": fleet.ops}


def test_a_client_learns_what_the_service_is_for(fleet: Fleet, way: Way) -> None:
    """The handshake names the service and tells models to ask before they act, and to act on nothing but an allowed answer."""

    async def work(tools: Tools) -> None:
        assert tools.client.server_info is not None
        assert tools.client.server_info.name == "cstp"
        assert "check_guardrails" in (tools.client.instructions or "")
        assert "allowed: true" in (tools.client.instructions or "")

    using(fleet.server, way, fleet.agent, work)


def test_an_allowed_check_says_to_go_on_and_is_on_record(fleet: Fleet, way: Way) -> None:
    """The agent of the token is the one on record, and the structure has the names of the RPC interface."""

    async def work(tools: Tools) -> str:
        answer = await tools.ask("check_guardrails", action={"description": "look at order 7", "type": "read_order"})
        assert answer["allowed"] is True
        assert answer["next"].startswith("go on with exactly this action")
        return str(answer["decisionId"])

    decision = using(fleet.server, way, fleet.agent, work)
    recorded = fleet.server.call("cstp.getDecision", {"id": decision}, token=fleet.ops)["decision"]
    assert (recorded["agentId"], recorded["principal"]) == ("bot", "bot")


def test_a_blocked_check_is_an_answer_that_says_what_would_pass(fleet: Fleet, way: Way) -> None:
    """A dry run of a refund above the limit is refused with its reason, and `next` names the change that would be enough."""

    async def work(tools: Tools) -> None:
        action = {"description": "refund order 7", "type": "issue_refund", "parameters": {"amount": 800}}
        answer = await tools.ask("check_guardrails", action=action, dryRun=True)
        assert (answer["allowed"], answer["intervention"]) == (False, "block")
        assert answer["violations"][0]["message"] == "Tripwire triggered: amount exceeds max_refund of 500"
        assert "lower `action.parameters.amount` to 500" in answer["next"]

    using(fleet.server, way, fleet.agent, work)


def test_an_approval_by_a_tool_lets_the_waiting_agent_go_on(fleet: Fleet, way: Way) -> None:
    """A check that a person has to approve is pending; the agent waits with a tool, and gets through once an operator has approved."""

    async def work() -> None:
        async with connected(fleet.server, way, fleet.agent) as agent, connected(fleet.server, way, fleet.ops) as ops:
            asked = await agent.ask("check_guardrails", action={"description": "deploy build 7", "type": "deploy"})
            assert (asked["allowed"], asked["pending"]["kind"]) == (False, "approval")
            assert f"Call `await_decision` with `id` `{asked['decisionId']}`" in asked["next"]
            waited = await agent.ask("await_decision", id=asked["decisionId"], timeoutMs=0)
            assert (waited["status"], waited["allowed"]) == ("pending", False)
            assert waited["next"].startswith("do not act yet")
            waiting = asyncio.create_task(agent.ask("await_decision", id=asked["decisionId"], timeoutMs=30_000))
            settled = await ops.ask("resolve_decision", id=asked["decisionId"], resolution="approve", note="seen")
            assert (settled["status"], settled["resolvedBy"]) == ("approved", "ann")
            answer = await waiting
            assert (answer["status"], answer["allowed"]) == ("approved", True)
            assert answer["next"].startswith("go on")

    asyncio.run(work())


def test_reported_failures_open_a_circuit_that_an_operator_closes(fleet: Fleet, way: Way) -> None:
    """Reviews by CI open the circuit, a check says until when to wait, and a reset lets the next one through."""
    category = way.replace(" ", "-")

    async def work() -> None:
        async with (
            connected(fleet.server, way, fleet.agent) as agent,
            connected(fleet.server, way, fleet.ci) as ci,
            connected(fleet.server, way, fleet.ops) as ops,
        ):
            action = {"description": "run the formatter", "category": category}
            first, second = [await agent.ask("check_guardrails", action=action) for _ in range(2)]
            await ci.ask("review_decision", id=first["decisionId"], outcome="failure", errorType="Timeout")
            review = await ci.ask("review_decision", id=second["decisionId"], outcome="failure", errorType="Timeout")
            assert review["circuits"] == [{"scope": f"category:{category}", "previousState": "closed", "state": "open", "failureCount": 2}]
            blocked = await agent.ask("check_guardrails", action=action)
            assert blocked["allowed"] is False
            assert f"wait until {blocked['remedies'][0]['until']}" in blocked["next"]
            circuit = await agent.ask("get_circuit_state", scope=blocked["violations"][0]["scope"])
            assert (circuit["state"], circuit["failureCount"]) == ("open", 2)
            listed = await agent.ask("list_circuits", state="open", prefix=f"category:{category}")
            assert [found["scope"] for found in listed["circuits"]] == [f"category:{category}"]
            reset = await ops.ask("reset_circuit", scope=f"category:{category}", reason="formatter pinned")
            assert (reset["previousState"], reset["newState"], reset["resetBy"]) == ("open", "closed", "ann")
            assert (await agent.ask("check_guardrails", action=action))["allowed"] is True

    asyncio.run(work())


def test_an_agent_sees_its_posture_and_its_users_trust(fleet: Fleet, way: Way) -> None:
    """What an agent may look at besides, it gets as the RPC interface has it; another agent's posture it does not."""

    async def work(tools: Tools) -> None:
        posture = await tools.ask("get_posture", agentId="bot")
        assert (posture["posture"], posture["level"]) == ("supervised", 3)
        trust = await tools.ask("get_autonomy_level", userId="user_1", domain="billing")
        assert (trust["state"], trust["canActFreely"]) == ("full_autonomy", True)
        assert "bot" in await tools.error("get_posture", agentId="somebody-else")

    using(fleet.server, way, fleet.agent, work)


def test_a_tool_of_operators_fails_for_others_and_names_the_role(fleet: Fleet, way: Way) -> None:
    """A tool that is not offered cannot be called either, even where the method behind it is open to the role."""

    async def work(tools: Tools) -> None:
        for name, arguments in (
            ("reset_circuit", {"scope": "category:x"}),
            ("resolve_decision", {"id": "dec_1", "resolution": "confirm"}),
        ):
            said = await tools.error(name, **arguments)
            assert said.startswith(f"error: `{name}` takes a token with the role `ops`")
            assert "next: do not try again with this token" in said

    using(fleet.server, way, fleet.agent, work)


def test_a_role_too_low_fails_with_the_roles_that_would_do(fleet: Fleet, way: Way) -> None:
    """CI may not check, and is told who may."""

    async def work(tools: Tools) -> None:
        assert "`agent` or `ops`" in await tools.error("check_guardrails", action={"description": "deploy"})

    using(fleet.server, way, fleet.ci, work)


def test_an_agent_cannot_be_another_agent(fleet: Fleet, way: Way) -> None:
    """A token that is bound to an agent checks for no other."""

    async def work(tools: Tools) -> None:
        said = await tools.error("check_guardrails", action={"description": "pay"}, agent={"id": "somebody-else"})
        assert "`bot`" in said
        assert "leave `agent` out" in said
        assert "`bot`" in await tools.error("get_posture", agentId="somebody-else")

    using(fleet.server, way, fleet.agent, work)


def test_bad_arguments_fail_with_what_would_be_right(fleet: Fleet, way: Way) -> None:
    """The error names each field that is wrong, what would be right, and that the call is to be made again."""

    async def work(tools: Tools) -> None:
        said = await tools.error("check_guardrails", action={"descripton": "pay", "stakes": "huge"})
        assert said.splitlines() == [
            "error: invalid params: `action.description` is required",
            "also: `action.stakes` must be `low`, `medium`, `high` or `critical`",
            "also: `action.descripton` is unknown: did you mean `description`?",
            "next: correct the arguments, as the tool's schema has them, and call again",
        ]
        said = await tools.error("check_guardrails", action={"description": "pay", "amount": 40}, amount=40)
        assert said.splitlines()[:2] == [
            "error: invalid params: `action.amount` is unknown: there are `description`, `type`, `category`, `stakes`, `confidence`, "
            "`ctq`, `tags`, `parameters`, `context`",
            "also: `amount` is unknown: there are `action`, `agent`, `user`, `decisionId`, `dryRun`",
        ]
        assert "`id` is required" in await tools.error("await_decision")
        assert "there is no tool of that name" in await tools.error("check_guardrail")
        assert "no decision `dec_nobody`" in await tools.error("await_decision", id="dec_nobody")
        assert "list_circuits" in await tools.error("get_circuit_state", scope="tag:nobody")

    using(fleet.server, way, fleet.agent, work)


def test_numbers_and_nesting_beyond_all_bounds_are_refused(fleet: Fleet, way: Way) -> None:
    """What the RPC interface refuses, a tool refuses too: infinities, integers beyond 64 bits, and a thousand levels."""
    nested: dict[str, object] = {}
    for _ in range(60):
        nested = {"a": nested}

    async def work(tools: Tools) -> None:
        wide = await tools.error("check_guardrails", action={"description": "pay", "parameters": {"amount": 2**70}})
        assert "`action.parameters.amount` must be an integer of at most 64 bits" in wide
        deep = await tools.error("check_guardrails", action={"description": "pay", "parameters": nested})
        assert "nest" in deep

    using(fleet.server, way, fleet.agent, work)


def test_the_same_id_is_answered_alike(fleet: Fleet, way: Way) -> None:
    """A check that is asked again under its id gets the recorded answer; another content under that id is a conflict."""
    id = f"dec_{way.replace(' ', '-')}"

    async def work(tools: Tools) -> None:
        first = await tools.ask("check_guardrails", action={"description": "pay"}, decisionId=id)
        assert await tools.ask("check_guardrails", action={"description": "pay"}, decisionId=id) == first
        assert "leave it out" in await tools.error("check_guardrails", action={"description": "pay more"}, decisionId=id)

    using(fleet.server, way, fleet.agent, work)


def test_many_calls_at_once_are_all_answered(fleet: Fleet, way: Way) -> None:
    """Calls of one connection do not wait for one another, whichever process they come to."""

    async def work(tools: Tools) -> None:
        answers = await asyncio.gather(
            *(tools.ask("check_guardrails", action={"description": f"look at order {number}"}) for number in range(40))
        )
        assert all(answer["allowed"] for answer in answers)
        assert len({answer["decisionId"] for answer in answers}) == 40

    using(fleet.server, way, fleet.agent, work)


def test_a_wait_that_is_cancelled_leaves_the_others_alone(fleet: Fleet, way: Way) -> None:
    """A client that gives up a wait goes on with other calls over the same connection, and the decision still waits."""

    async def work() -> None:
        async with connected(fleet.server, way, fleet.agent) as tools:
            asked = await tools.ask("check_guardrails", action={"description": "deploy build 8", "type": "deploy"})
            waiting = asyncio.create_task(tools.ask("await_decision", id=asked["decisionId"], timeoutMs=60_000))
            await tools.ask("list_circuits")
            waiting.cancel()
            await asyncio.wait([waiting])
            assert waiting.cancelled()
            again = await tools.ask("await_decision", id=asked["decisionId"], timeoutMs=0)
            assert again["status"] == "pending"

    asyncio.run(work())
