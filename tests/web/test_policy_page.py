"""The policy page says how the policy of the whole service stands, in whichever tenant one looks."""

from pathlib import Path

from tests.conftest import StartServer
from tests.notifiers.receiver import wait_for
from tests.web.plain import Plain

GOOD = "tripwires: {limits: {max_refund: 500}}\n"
BETTER = "tripwires: {limits: {max_refund: 400}}\n"
BAD = "tripwires: {limits: {max_refund: many}}\n"
REFUSED = "The newest policy was refused"


def test_a_refused_policy_is_told_in_every_tenant_until_it_is_put_right(start_server: StartServer, tmp_path: Path) -> None:
    """Whoever wrote it, and whoever had it read: the file, or an administrator of one tenant."""
    path = tmp_path / "policy.yaml"
    path.write_text(GOOD)
    server = start_server(database_url=f"sqlite:///{tmp_path / 'tenants.db'}", config=path)
    ops = server.token("olivia", "ops")
    admin = server.token("nora", "admin", tenant="north")
    with Plain(server.url) as here, Plain(server.url) as north:
        here.sign_in(ops)
        north.sign_in(admin)
        assert REFUSED not in here.get("/policy").text + north.get("/policy").text
        with north.watch() as stream:
            stream.until("data:")
            path.write_text(BAD)
            assert "policy" in stream.until("data:")[-1]
        for visitor in (here, north):
            wait_for(lambda shown=visitor: REFUSED in shown.get("/policy").text, "the refusal")  # type: ignore[misc]
            assert "max_refund" in visitor.get("/policy").text
        path.write_text(BETTER)
        server.call("cstp.reloadPolicy", {}, token=admin)
        for visitor in (here, north):
            wait_for(lambda shown=visitor: REFUSED not in shown.get("/policy").text, "the policy")  # type: ignore[misc]
