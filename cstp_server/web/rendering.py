"""Pages and fragments from templates; whatever an agent said is escaped in every one of them."""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from cstp_server import __version__
from cstp_server.domain.callers import Role
from cstp_server.web import charts, happenings, tones, unseen, words
from cstp_server.web.assets import asset
from cstp_server.web.context import Visit
from cstp_server.web.icons import icon
from cstp_server.web.links import link
from cstp_server.web.notices import NOTICE, Notice, notice_of
from cstp_server.web.theme import theme_of


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("cstp_server.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        finalize=unseen.visible,
    )
    environment.filters |= {
        "exact": words.exact,
        "machine": words.machine,
        "duration": words.duration,
        "countdown": words.countdown,
        "plain": words.plain,
        "number": words.number,
        "many": words.many,
        "percent": words.percent,
        "short": words.short,
        "coded": words.coded,
        "sentence": words.sentence,
        "json": _json,
        "name": unseen.name,
        "as_sent": unseen.as_sent,
    }
    environment.globals |= {
        "relative": words.relative,
        "failure": words.failure,
        "tone_of": tones.tone_of,
        "event_tone": happenings.event_tone,
        "happening_of": happenings.happening_of,
        "asset": asset,
        "icon": icon,
        "link": link,
        "spark": charts.spark,
        "version": __version__,
        "ops": Role.OPS,
    }
    return environment


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


_ENVIRONMENT = _environment()


def render(template: str, values: Mapping[str, Any]) -> str:
    """The text of a template."""
    return _ENVIRONMENT.get_template(template).render(values)


async def show(visit: Visit, template: str, values: Mapping[str, Any], *, status: int = 200) -> Response:
    """A page, or what changes of it."""
    notice = None if visit.wants_fragment else notice_of(visit.request)
    response = HTMLResponse(render(template, _common(visit, notice) | dict(values)), status)
    if notice is not None:
        response.delete_cookie(NOTICE, path="/")
    return response


def _common(visit: Visit, notice: Notice | None) -> dict[str, Any]:
    return {
        "visit": visit,
        "now": visit.now,
        "fragment": visit.wants_fragment,
        "form_token": visit.signed_in.form_token,
        "notice": notice,
        "theme": theme_of(visit.request),
        "address": visit.request.url.path + (f"?{visit.request.url.query}" if visit.request.url.query else ""),
        "ago": partial(words.relative, now=visit.now),
    }
