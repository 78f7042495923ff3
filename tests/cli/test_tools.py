"""`cstp mcp` is told where the server is and who calls in the same ways as every other command."""

from pathlib import Path

from tests.cli.conftest import Cli


def test_the_tools_of_the_named_server_are_served(cli: Cli, tmp_path: Path) -> None:
    """The address and the token come from the environment, from options, or from a file; nothing is printed."""
    (tmp_path / "token").write_text("cstp_file\n")
    runs = [
        cli("mcp", env={"CSTP_TOKEN": "cstp_environment"}),
        cli("--url", "https://cstp.example.org", "--token", "cstp_option", "mcp"),
        cli("--token-file", str(tmp_path / "token"), "mcp"),
        cli("mcp"),
    ]
    assert [(done.exit_code, done.stdout) for done in runs] == [(0, "")] * 4
    assert cli.served == [
        (cli.url, "cstp_environment"),
        ("https://cstp.example.org", "cstp_option"),
        (cli.url, "cstp_file"),
        (cli.url, None),
    ]
