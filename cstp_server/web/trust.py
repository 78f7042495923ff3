"""Users' trust: how freely the AI acts for each of them, how far it has come back, and making it whole again."""

import asyncio

from starlette.responses import Response

from cstp_server.domain.refusals import InvalidInput, Refusal
from cstp_server.domain.trust import TRUST_STATES
from cstp_server.services import browsing, trust
from cstp_server.web.access import refused
from cstp_server.web.circuits import place_of
from cstp_server.web.context import Visit
from cstp_server.web.names import domain_of, user_of
from cstp_server.web.notices import Notice, go_on
from cstp_server.web.pulse import pulse_of
from cstp_server.web.rendering import show

_PAGE = 50
_BY_NAME = {trusted.value: state for state, trusted in TRUST_STATES.items()}


async def list_trust(visit: Visit) -> Response:
    """A page of users, those whose trust is reduced first."""
    catalogue, policy, tenant = visit.dashboard.catalogue, visit.policy, visit.tenant
    asked, text = visit.asked("state"), visit.asked("q")
    state = _BY_NAME.get(asked or "")
    pulse, counts, page = await asyncio.gather(
        pulse_of(visit),
        catalogue.circuit_counts(tenant, policy),
        browsing.trust(catalogue, policy, tenant, state=state, text=text, place=place_of(visit.asked("at")), limit=_PAGE),
    )
    values = {
        "pulse": pulse,
        "counts": {trusted.value: counts.of_users.get(state, 0) for state, trusted in TRUST_STATES.items()},
        "page": page,
        "state": asked if state is not None else None,
        "q": text,
        "at": visit.asked("at"),
        "is_measured": policy.circuits.trust is not None,
    }
    return await show(visit, "trust.html", values)


async def ask_reset(visit: Visit) -> Response:
    """Whether to make it whole again."""
    user_id, domain = user_of(visit), domain_of(visit)
    if isinstance(user_id, InvalidInput):
        return await refused(visit, user_id)
    if isinstance(domain, InvalidInput):
        return await refused(visit, domain)
    view = await trust.autonomy(visit.dashboard.reader, visit.policy, visit.caller, user_id, domain)
    if isinstance(view, Refusal):
        return await refused(visit, view)
    return await show(visit, "trust_reset.html", {"pulse": await pulse_of(visit), "view": view})


async def reset(visit: Visit) -> Response:
    """Make it whole again."""
    user_id, domain = user_of(visit), domain_of(visit)
    if isinstance(user_id, InvalidInput):
        return await refused(visit, user_id)
    if isinstance(domain, InvalidInput):
        return await refused(visit, domain)
    reason = visit.form.text("reason") or None
    answer = await trust.reset(visit.dashboard.transactor, visit.policy, visit.caller, user_id, domain, reason)
    if isinstance(answer, Refusal):
        return await refused(visit, answer)
    return go_on("/trust", Notice("good", f"trust of user `{user_id}` in `{domain}` is whole again"))
