"""The addresses of the dashboard."""

from starlette.routing import BaseRoute, Route

from cstp_server.web import agents, assets, circuits, decisions, events, policy, signing_in, tripwires, trust
from cstp_server.web.access import acting, kept_inside, reading, sending
from cstp_server.web.context import Dashboard, Page
from cstp_server.web.live import live
from cstp_server.web.overview import overview

_READ: dict[str, Page] = {
    "/": overview,
    "/circuits": circuits.list_circuits,
    "/circuit": circuits.circuit,
    "/pending": decisions.pending,
    "/decisions": decisions.search,
    "/decision": decisions.decision,
    "/agents": agents.list_agents,
    "/agent": agents.agent,
    "/tripwires": tripwires.hits,
    "/trust": trust.list_trust,
    "/events": events.list_events,
    "/policy": policy.policy,
}
_ASKED: dict[str, Page] = {
    "/circuit/reset": circuits.ask_reset,
    "/circuit/trip": circuits.ask_trip,
    "/agent/move": agents.ask_move,
    "/agent/block": agents.ask_block,
    "/trust/reset": trust.ask_reset,
}
_DONE: dict[str, Page] = {
    "/circuit/reset": circuits.reset,
    "/circuit/trip": circuits.trip,
    "/decision/resolve": decisions.resolve,
    "/trust/reset": trust.reset,
}
_SENT: dict[str, Page] = {
    "/agent/move": agents.move,
    "/agent/block": agents.block,
    "/sign-out": signing_in.sign_out,
    "/theme": signing_in.choose_theme,
}


def routes(dashboard: Dashboard) -> list[BaseRoute]:
    """Every page, and everything that a form does."""
    return [
        *(Route(path, reading(dashboard, page), methods=["GET"]) for path, page in _READ.items()),
        *(Route(path, reading(dashboard, page, operators_only=True), methods=["GET"]) for path, page in _ASKED.items()),
        *(Route(path, acting(dashboard, page), methods=["POST"]) for path, page in _DONE.items()),
        *(Route(path, sending(dashboard, page), methods=["POST"]) for path, page in _SENT.items()),
        Route("/live", reading(dashboard, live, shared=False), methods=["GET"]),
        Route("/sign-in", signing_in.sign_in_page(dashboard), methods=["GET"]),
        Route("/sign-in", signing_in.sign_in(dashboard), methods=["POST"]),
        Route("/static/{name}", kept_inside(assets.serve), methods=["GET"]),
    ]
