"""Signing in with a token, and out again (SPEC 11)."""

import structlog
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from cstp_server.domain.callers import Caller, Role
from cstp_server.domain.refusals import Refusal, Unauthorized
from cstp_server.services.identifying import names_this_machine
from cstp_server.web import cookies
from cstp_server.web.access import ASKS_TOO_OFTEN, Endpoint, kept_inside
from cstp_server.web.context import Dashboard, Visit, requested
from cstp_server.web.forms import Form, read_form
from cstp_server.web.links import own_path
from cstp_server.web.origins import is_own_form
from cstp_server.web.rendering import render
from cstp_server.web.theme import THEME, THEMES, theme_of

_log = structlog.get_logger(__name__)
_YEAR_SECONDS = 31_536_000


def sign_in_page(dashboard: Dashboard) -> Endpoint:
    """The form; for whoever is signed in, the page that they wanted."""

    async def answer(request: Request) -> Response:
        secret = cookies.secret_of(request)
        wanted = own_path(request.query_params.get("next"))
        if secret is not None and await dashboard.desk.find(secret, requested(request)) is not None:
            return RedirectResponse(wanted, 303)
        return await _form(dashboard, request, wanted)

    return kept_inside(answer)


def sign_in(dashboard: Dashboard) -> Endpoint:
    """Begin a session for whoever holds a token that may look, or needs none."""

    async def answer(request: Request) -> Response:
        form = await read_form(request)
        wanted = own_path(form.text("next"))
        if not is_own_form(request):
            return await _form(dashboard, request, wanted, 403, "the form was not sent from this page: load it anew and try again")
        caller = await _caller_of(dashboard, request, form)
        if isinstance(caller, Refusal):
            return await _failed(dashboard, request, wanted, caller)
        wait = dashboard.admit(caller.token_digest)
        if wait:
            return await _too_often(dashboard, request, wanted, wait)
        if not caller.may(Role.VIEWER):
            dashboard.metrics.signed_in("refused")
            _log.warning("sign_in_refused", principal=caller.principal, tenant=caller.tenant, address=requested(request).host)
            return await _form(dashboard, request, wanted, 403, "this token may not look at the dashboard: that takes the role `viewer`")
        return await _begin(dashboard, request, caller, wanted)

    return kept_inside(answer)


async def sign_out(visit: Visit) -> Response:
    """End the session, here and in every other tab."""
    await visit.dashboard.desk.end(visit.signed_in, "signed_out")
    _log.info("signed_out", principal=visit.caller.principal, tenant=visit.tenant, address=requested(visit.request).host)
    response = RedirectResponse("/sign-in", 303)
    cookies.take_back(response)
    return response


async def choose_theme(visit: Visit) -> Response:
    """Light, dark, or as the system has it."""
    response = RedirectResponse(own_path(visit.form.text("next")), 303)
    chosen = visit.form.text("theme")
    if chosen in THEMES:
        response.set_cookie(THEME, chosen, max_age=_YEAR_SECONDS, path="/", httponly=True, samesite="lax")
    return response


async def _begin(dashboard: Dashboard, request: Request, caller: Caller, wanted: str) -> Response:
    host = requested(request).host
    await _end_former(dashboard, request)
    signed_in = await dashboard.desk.begin(caller)
    if isinstance(signed_in, Refusal):
        return await _failed(dashboard, request, wanted, signed_in)
    dashboard.attempts.succeeded(host)
    dashboard.metrics.signed_in("succeeded")
    _log.info("signed_in", principal=caller.principal, tenant=caller.tenant, address=host)
    response = RedirectResponse(wanted, 303)
    cookies.give(response, request, signed_in.secret)
    return response


async def _end_former(dashboard: Dashboard, request: Request) -> None:
    """The session that this browser had before, if it still stands."""
    secret = cookies.secret_of(request)
    former = await dashboard.desk.find(secret, requested(request)) if secret is not None else None
    if former is not None:
        await dashboard.desk.end(former, "replaced")


async def _failed(dashboard: Dashboard, request: Request, wanted: str, refusal: Refusal) -> Response:
    """Nobody can guess a token, so only those are kept waiting who have none: whoever shares an address with them gets in all the same."""
    host = requested(request).host
    wait = dashboard.attempts.wait(host)
    if wait:
        dashboard.metrics.signed_in("limited")
        response = await _form(dashboard, request, wanted, 429, f"too many attempts have failed: try again in {-(-wait // 60)} min")
        response.headers["retry-after"] = str(wait)
        return response
    dashboard.attempts.failed(host)
    dashboard.metrics.signed_in("failed")
    _log.warning("sign_in_failed", address=host)
    return await _form(dashboard, request, wanted, 401, refusal.message)


async def _too_often(dashboard: Dashboard, request: Request, wanted: str, wait_ms: int) -> Response:
    """Each session is a row and an event on record, so that signing in counts as a call of the token."""
    dashboard.metrics.signed_in("limited")
    seconds = -(-wait_ms // 1000)
    response = await _form(dashboard, request, wanted, 429, f"{ASKS_TOO_OFTEN}: try again in {seconds} s")
    response.headers["retry-after"] = str(seconds)
    return response


async def _caller_of(dashboard: Dashboard, request: Request, form: Form) -> Caller | Unauthorized:
    presented = form.text("token")
    if presented:
        return await dashboard.identification.holder_of(presented)
    if form.text("without_token"):
        local = await _local_caller(dashboard, request)
        return local if local is not None else Unauthorized("this takes a token")
    return Unauthorized("enter a token")


async def _local_caller(dashboard: Dashboard, request: Request) -> Caller | None:
    """Whoever needs no token; another site's name that was made to point here is no name of this machine."""
    if not names_this_machine(request.headers.get("host", "")):
        return None
    origin = requested(request)
    caller = await dashboard.identification.local_caller(origin.host, origin.headers)
    return None if isinstance(caller, Unauthorized) else caller


async def _form(dashboard: Dashboard, request: Request, wanted: str, status: int = 200, problem: str | None = None) -> Response:
    values = {
        "next": wanted,
        "problem": problem,
        "without_token": await _local_caller(dashboard, request) is not None,
        "theme": theme_of(request),
    }
    return HTMLResponse(render("sign_in.html", values), status)
