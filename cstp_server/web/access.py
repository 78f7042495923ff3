"""Who gets in: pages for those who have signed in and may look, forms for those who may act, and an answer to whatever goes wrong."""

import hmac
from collections.abc import Awaitable, Callable

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from cstp_server.domain.callers import Role
from cstp_server.domain.refusals import (
    CircuitNotFound,
    Conflict,
    DecisionNotFound,
    Forbidden,
    InvalidInput,
    Overloaded,
    Refusal,
    SearchTooLong,
    StoreUnavailable,
)
from cstp_server.services.sessions import SignedIn
from cstp_server.web.context import Dashboard, Page, Visit, requested
from cstp_server.web.cookies import secret_of
from cstp_server.web.forms import BadForm, Form, read_form
from cstp_server.web.headers import REASON, secured
from cstp_server.web.links import link
from cstp_server.web.origins import is_own_form
from cstp_server.web.pulse import pulse_of
from cstp_server.web.rendering import render, show
from cstp_server.web.theme import theme_of

Endpoint = Callable[[Request], Awaitable[Response]]
_log = structlog.get_logger(__name__)
_STATUS: dict[type[Refusal], int] = {DecisionNotFound: 404, CircuitNotFound: 404, Conflict: 409, Forbidden: 403, InvalidInput: 422}
ASKS_TOO_OFTEN = "this token asks too often"
_NO_OPERATOR = Forbidden("this takes the role `ops`", (Role.OPS.value,))
_NOT_OURS = "the form was not sent from this page, or the session has changed since: go back, load the page anew and try again"


def kept_inside(endpoint: Endpoint) -> Endpoint:
    """The endpoint with the headers that every answer has; what goes wrong inside stays there."""

    async def answer(request: Request) -> Response:
        try:
            response = await endpoint(request)
        except ClientDisconnect:
            response = Response(status_code=400)  # nobody reads it
        except BadForm as problem:
            response = failure_page(request, problem.status, problem.message)
        except SearchTooLong:
            response = failure_page(request, 503, "this takes too long to find: narrow the search, to less time or one agent")
        except StoreUnavailable:
            response = failure_page(request, 503, "the store does not answer: nothing was carried out, and nothing is allowed meanwhile")
        except Overloaded:
            response = failure_page(request, 503, "too much is going on right now: nothing was carried out")
        except Exception:  # noqa: BLE001 - whatever it is, it is told in the log and not to whoever looks
            _log.exception("page failed", path=request.url.path)
            response = failure_page(request, 500, "this page failed: the log says why, under the id in the answer's `x-request-id`")
        return secured(response)

    return answer


def reading(dashboard: Dashboard, page: Page, *, operators_only: bool = False, shared: bool = True) -> Endpoint:
    """A page for everybody who may look, or for operators alone. What changes of it is made for all at once where it is `shared`."""

    async def answer(request: Request) -> Response:
        signed_in = await _signed_in(dashboard, request)
        if signed_in is None:
            return _sign_in_first(request)
        visit = Visit(dashboard, request, signed_in)
        wait = dashboard.admit(visit.caller.token_digest)
        if wait:
            return _too_often(request, wait)
        if not visit.caller.may(Role.VIEWER):
            return await refused(visit, Forbidden("to look at this takes the role `viewer`", (Role.VIEWER.value,)))
        if operators_only and not visit.operates:
            return await refused(visit, _NO_OPERATOR)
        edition = dashboard.feed.edition(visit.tenant) if shared and visit.wants_fragment else None
        if edition is None:
            return await page(visit)
        key = (visit.tenant, visit.operates, str(request.url), edition)
        return await dashboard.shared.get(key, lambda: page(visit), visit.shown)

    return kept_inside(answer)


def acting(dashboard: Dashboard, page: Page) -> Endpoint:
    """What a form does, for operators; the form must come from a page of the same session."""
    return _sent(dashboard, page, operators_only=True)


def sending(dashboard: Dashboard, page: Page) -> Endpoint:
    """What a form does that everybody may send: it changes nothing of others, or its use case puts those who may not on record."""
    return _sent(dashboard, page, operators_only=False)


def _sent(dashboard: Dashboard, page: Page, *, operators_only: bool) -> Endpoint:
    async def answer(request: Request) -> Response:
        signed_in = await _signed_in(dashboard, request)
        if signed_in is None:
            return failure_page(request, 401, "you are signed out: sign in, and try again")
        wait = dashboard.admit(signed_in.caller.token_digest)
        if wait:
            return _too_often(request, wait)
        form = await read_form(request)
        visit = Visit(dashboard, request, signed_in, form)
        if not is_own_form(request) or not _matches(form, signed_in):
            return await refused(visit, Forbidden(_NOT_OURS))
        if operators_only and not visit.operates:
            return await refused(visit, _NO_OPERATOR)
        return await page(visit)

    return kept_inside(answer)


async def refused(visit: Visit, refusal: Refusal) -> Response:
    """The page that says why not."""
    status = _STATUS.get(type(refusal), 400)
    pulse = await pulse_of(visit) if visit.caller.may(Role.VIEWER) else None
    values = {"pulse": pulse, "refusal": refusal, "status": status, "nearest": getattr(refusal, "nearest", ())}
    return await show(visit, "refused.html", values, status=status)


def failure_page(request: Request, status: int, message: str) -> Response:
    """A page that needs nothing but itself."""
    if request.headers.get("x-fragment"):
        return PlainTextResponse(message, status)
    return HTMLResponse(render("failure.html", {"status": status, "message": message, "theme": theme_of(request)}), status)


def _too_often(request: Request, wait_ms: int) -> Response:
    seconds = -(-wait_ms // 1000)
    response = failure_page(request, 429, f"{ASKS_TOO_OFTEN}, nothing was carried out: try again in {seconds} s")
    response.headers.update({"retry-after": str(seconds), REASON: ASKS_TOO_OFTEN})
    return response


def _sign_in_first(request: Request) -> Response:
    if request.headers.get("x-fragment") or "text/event-stream" in request.headers.get("accept", ""):
        return PlainTextResponse("you are signed out", 401)
    address = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if request.headers.get("sec-fetch-site") == "cross-site" and secret_of(request) is None:
        return HTMLResponse(render("again.html", {"address": address, "theme": theme_of(request)}))
    return RedirectResponse(link("/sign-in", next=address if address != "/" else None), 303)


async def _signed_in(dashboard: Dashboard, request: Request) -> SignedIn | None:
    secret = secret_of(request)
    return await dashboard.desk.find(secret, requested(request)) if secret is not None else None


def _matches(form: Form, signed_in: SignedIn) -> bool:
    return hmac.compare_digest(form.text("form_token").encode(), signed_in.form_token.encode())
