"""Usage of quotas and budgets: rows <-> domain, and what leaves rolling windows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import ARRAY, Connection, ScalarSelect, Select, String, any_, bindparam, column, delete, func, select
from sqlalchemy.sql.dml import Delete

from cstp_server.domain.usage import Claim, Span, Tally, Usage, left
from cstp_server.domain.values import dataclass
from cstp_server.storage import tables
from cstp_server.storage.engine import is_sqlite

Key = tuple[str, str]


def usage_row(tenant: str, usage: Usage) -> dict[str, Any]:
    """The row of a subject's usage. What is used stands there as text: it may exceed 64 bits."""
    return {"tenant": tenant, "subject": usage.subject, "data": _text(usage)}


def _text(usage: Usage) -> str:
    tallies = {
        meter: (tally.span, str(tally.used), tally.seq, tally.oldest_at, tally.newest_at, tally.ends_at, tally.oldest_gone)
        for meter, tally in usage.tallies.items()
    }
    return orjson.dumps(tallies).decode()


def usage_of(subject: str, text: str) -> Usage:
    """The usage that `usage_row` wrote."""
    return Usage(subject, {meter: Tally(Span(span), int(used), *rest) for meter, (span, used, *rest) in orjson.loads(text).items()})


def claim_row(tenant: str, claim: Claim) -> dict[str, Any]:
    """The row of a claim in a rolling window."""
    return {
        "tenant": tenant,
        "meter": claim.meter,
        "subject": claim.subject,
        "at": claim.at,
        "seq": claim.seq,
        "amount": str(claim.amount),
    }


def claims_text(claims: Sequence[Claim]) -> str | None:
    """A decision's claims as JSON text; none when it has none."""
    if not claims:
        return None
    return orjson.dumps(
        [
            (
                claim.subject,
                claim.meter,
                claim.span,
                str(claim.amount),
                str(claim.reserved),
                claim.at,
                claim.seq,
                claim.settles,
                claim.returns,
            )
            for claim in claims
        ]
    ).decode()


def claims_of(text: str | None) -> tuple[Claim, ...]:
    """The claims that `claims_text` wrote."""
    if text is None:
        return ()
    return tuple(
        Claim(subject, meter, Span(span), int(amount), int(reserved), *rest)
        for subject, meter, span, amount, reserved, *rest in orjson.loads(text)
    )


@dataclass(frozen=True, slots=True)
class Sweep:
    """Claims of some subjects of a tenant on one meter that have left its window: those made at `cutoff` or before."""

    tenant: str
    meter: str
    cutoff: int
    subjects: tuple[str, ...]

    @property
    def values(self) -> dict[str, Any]:
        """The values of the statements below."""
        return {"of_tenant": self.tenant, "of_meter": self.meter, "cutoff": self.cutoff}


class RollingWindows:
    """Takes out of rolling windows what has left them: every claim is read once, when it leaves, and then deleted."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sqlite = is_sqlite(connection)

    def swept(self, usages: Mapping[Key, Usage], now: int) -> tuple[dict[Key, Usage], list[Sweep]]:
        """The usages that have changed since something left their windows by `now`, and what left."""
        leaving = _leaving(usages, now)
        changed: dict[Key, Usage] = {}
        sweeps: list[Sweep] = []
        for (tenant, meter, cutoff), found in leaving.items():
            sweep = Sweep(tenant, meter, cutoff, tuple(sorted(subject for subject, _ in found)))
            sweeps.append(sweep)
            staying = tuple(subject for subject, tally in found if (tally.newest_at or 0) > cutoff)
            after = self._after(Sweep(tenant, meter, cutoff, staying)) if staying else {}
            for subject, tally in found:
                amounts, oldest_at = after.get(subject, ((), None))
                usage = changed.get((tenant, subject), usages[tenant, subject])
                changed[tenant, subject] = usage.with_tally(meter, left(tally, amounts, oldest_at))
        return changed, sweeps

    def delete(self, sweep: Sweep) -> None:
        """Delete what has left."""
        statement = _DELETE_SQLITE if self._sqlite else _DELETE_POSTGRES
        self._connection.execute(statement, {**sweep.values, "names": self._names(sweep)})

    def _after(self, sweep: Sweep) -> dict[str, tuple[Sequence[int], int | None]]:
        """For each subject the amounts that leave, and the time of the oldest claim that stays and counts for something."""
        names = {**sweep.values, "names": self._names(sweep)}
        amounts: dict[str, list[int]] = {}
        for row in self._connection.execute(_LEAVING_SQLITE if self._sqlite else _LEAVING_POSTGRES, names):
            amounts.setdefault(row.subject, []).append(int(row.amount))
        staying = self._connection.execute(_OLDEST_SQLITE if self._sqlite else _OLDEST_POSTGRES, names)
        return {row.subject: (amounts.get(row.subject, ()), row.oldest_at) for row in staying}

    def _names(self, sweep: Sweep) -> Any:
        return orjson.dumps(sweep.subjects).decode() if self._sqlite else list(sweep.subjects)


def _leaving(usages: Mapping[Key, Usage], now: int) -> dict[tuple[str, str, int], list[tuple[str, Tally]]]:
    """Tallies out of whose windows something leaves by `now`, or whose oldest claim is not known, by tenant, meter and that time."""
    found: dict[tuple[str, str, int], list[tuple[str, Tally]]] = {}
    for (tenant, subject), usage in usages.items():
        for meter, tally, window in _rolling(usage.tallies.items()):
            if tally.oldest_at is not None and (tally.oldest_gone or tally.oldest_at <= now - window):
                found.setdefault((tenant, meter, now - window), []).append((subject, tally))
    return found


def _rolling(tallies: Iterable[tuple[str, Tally]]) -> Iterator[tuple[str, Tally, int]]:
    for meter, tally in tallies:
        window = tally.span.rolling_ms
        if window is not None:
            yield meter, tally, window


_claims = tables.claims
_OF_METER = (_claims.c.tenant == bindparam("of_tenant"), _claims.c.meter == bindparam("of_meter"))
_LEFT = (*_OF_METER, _claims.c.at <= bindparam("cutoff"))
_LISTED: Select[Any] = select(column("value")).select_from(func.json_each(bindparam("names", type_=String)).table_valued("value"))
_NAMED = _claims.c.subject == any_(bindparam("names", type_=ARRAY(String)))
_LEAVING_SQLITE = select(_claims.c.subject, _claims.c.amount).where(*_LEFT, _claims.c.subject.in_(_LISTED))
_LEAVING_POSTGRES = select(_claims.c.subject, _claims.c.amount).where(*_LEFT, _NAMED)
_DELETE_SQLITE: Delete = delete(_claims).where(*_LEFT, _claims.c.subject.in_(_LISTED))
_DELETE_POSTGRES: Delete = delete(_claims).where(*_LEFT, _NAMED)


def _oldest_of(subject: Any) -> ScalarSelect[Any]:
    return (
        select(func.min(_claims.c.at)).where(*_OF_METER, _claims.c.subject == subject, _claims.c.at > bindparam("cutoff")).scalar_subquery()
    )


_EACH_SQLITE = func.json_each(bindparam("names", type_=String)).table_valued("value")
_EACH_POSTGRES = func.unnest(bindparam("names", type_=ARRAY(String))).table_valued("value").render_derived()
_OLDEST_SQLITE = select(_EACH_SQLITE.c.value.label("subject"), _oldest_of(_EACH_SQLITE.c.value).label("oldest_at"))
_OLDEST_POSTGRES = select(_EACH_POSTGRES.c.value.label("subject"), _oldest_of(_EACH_POSTGRES.c.value).label("oldest_at"))
