"""The addresses of the edge."""

from starlette.routing import BaseRoute, Route

from cstp_server.rpc.context import Services
from cstp_server.rpc.endpoint import CstpEndpoint
from cstp_server.rpc.front import CALLS
from cstp_server.rpc.health import agent_card, health, measured, ready
from cstp_server.rpc.methods import METHODS


def routes(services: Services) -> list[BaseRoute]:
    """`POST /cstp`, and what is asked over plain HTTP."""
    return [
        Route(CALLS, CstpEndpoint(services)),
        Route("/health", health),
        Route("/ready", ready(services.readiness)),
        Route("/metrics", measured(services.metrics, services.census)),
        Route("/.well-known/agent.json", agent_card(tuple(method.name for method in METHODS))),
    ]
