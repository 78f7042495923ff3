"""Runs the commands of a document's shell examples against a service, without a shell and without `curl`."""

import json
import re
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.conftest import ROOT
from tests.server import RunningServer

DOCUMENTED_URL = "http://127.0.0.1:8787"
_EXIT = re.compile(r"\s+#\s*exits (\d+)\b.*$")
_CAPTURE = re.compile(r"^(?:export\s+)?(\w+)=\$\((.*)\)$", re.DOTALL)
_ASSIGN = re.compile(r"^(?:export\s+)?(\w+)=(\S*)$")
_VARIABLE = re.compile(r"\$\{?(\w+)\}?")
_QUIET_CURL = frozenset({"-s", "-S", "-sS", "-sf", "-f", "--silent", "--show-error", "--fail", "--fail-with-body"})
_STARTS_A_SERVICE = ("serve",)


class Unclear(AssertionError):
    """An example that no check understands; it is either wrong or wants a way to be checked."""


@dataclass(slots=True)
class Answer:
    """What a command printed or a request was answered."""

    text: str

    @property
    def json(self) -> Any:
        """The answer as JSON."""
        return json.loads(self.text)


@dataclass(slots=True)
class Shell:
    """One document's session: its variables, and the last answer."""

    server: RunningServer
    variables: dict[str, str] = field(default_factory=dict)
    last: Answer | None = None

    def run_block(self, text: str) -> None:
        """Run every command of a block."""
        for command in commands_of(text):
            self.run(command)

    def run(self, command: str) -> None:
        """Run one command. Raises `AssertionError` when it does not end as the document says."""
        expected = _EXIT.search(command)
        code = int(expected.group(1)) if expected else 0
        command = _EXIT.sub("", command)
        captured = _CAPTURE.match(command)
        if captured:
            self._run_words(shlex.split(captured[2]), code)
            assert self.last is not None
            self.variables[captured[1]] = self.last.text.strip()
            return
        assigned = _ASSIGN.match(command)
        if assigned:
            self.variables[assigned[1]] = self._expand(assigned[2])
            return
        self._run_words(shlex.split(command, comments=True), code)

    def _run_words(self, words: list[str], code: int) -> None:
        program, *arguments = [self._expand(word) for word in words]
        match program:
            case "curl":
                self._curl(arguments)
            case "cstp":
                self._cstp(arguments, code)
            case "make":
                done = subprocess.run(["make", "--dry-run", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
                assert done.returncode == 0, f"`make {' '.join(arguments)}`: {done.stderr}"
            case "cp":
                assert (ROOT / arguments[0]).exists(), f"`{arguments[0]}` is not there to be copied"
            case "docker":
                check_compose(arguments)
            case _:
                raise Unclear(f"`{program}`: no check knows this command")

    def _expand(self, word: str) -> str:
        word = _VARIABLE.sub(lambda found: self.variables.get(found[1], found[0]), word)
        return word.replace(DOCUMENTED_URL, self.server.url)

    def _cstp(self, arguments: list[str], code: int) -> None:
        if arguments[0] in _STARTS_A_SERVICE:
            offered = self.server.cli(*arguments[:1], "--help").stdout
            unknown = [word for word in arguments if word.startswith("--") and word.partition("=")[0] not in offered]
            assert not unknown, f"`cstp {arguments[0]}` has no {unknown}"
            return
        environment = {name: value for name, value in self.variables.items() if name.startswith("CSTP_")}
        done = self.server.cli(*arguments, check=False, env={"CSTP_URL": self.server.url} | environment)
        assert done.returncode == code, f"`cstp {shlex.join(arguments)}` ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        self.last = Answer(done.stdout)

    def _curl(self, arguments: list[str]) -> None:
        url, method, headers, body = None, None, {}, None
        words = iter(arguments)
        for word in words:
            if word in _QUIET_CURL:
                continue
            if word in {"-H", "--header"}:
                name, _, value = next(words).partition(":")
                headers[name.strip()] = value.strip()
            elif word == "--json":
                body = next(words)
                headers |= {"Content-Type": "application/json", "Accept": "application/json"}
            elif word in {"-d", "--data"}:
                body = next(words)
                headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
            elif word in {"-X", "--request"}:
                method = next(words)
            elif word.startswith("-"):
                raise Unclear(f"`curl {word}`: no check knows this option")
            else:
                url = word
        assert url is not None, "`curl` without a url"
        response = httpx.request(
            method or ("GET" if body is None else "POST"), url, headers=headers, content=body, timeout=70, trust_env=False
        )
        self.last = Answer(response.text)


def commands_of(text: str) -> list[str]:
    """The commands of a block: continued lines and open quotes belong together."""
    found: list[str] = []
    gathered = ""
    for line in text.splitlines():
        gathered = f"{gathered}\n{line}" if gathered else line
        if gathered.endswith("\\"):
            gathered = gathered[:-1].rstrip() + " "
            continue
        try:
            words = shlex.split(gathered, comments=True)
        except ValueError:
            continue
        if words:
            found.append(gathered.replace("\n\n", "\n") if "'" in gathered else " ".join(gathered.split("\n")))
        gathered = ""
    if gathered.strip():
        raise Unclear(f"an open quotation: {gathered}")
    return found


def check_compose(arguments: list[str]) -> None:
    """`docker compose run SERVICE …` and its like name services that the compose file has."""
    services = set(yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"])
    if arguments[0] == "build":
        assert Path(ROOT / arguments[-1] / "Dockerfile").is_file()
        return
    assert arguments[0] == "compose", f"`docker {arguments[0]}`: no check knows this command"
    verb, *rest = arguments[1:]
    assert verb in {"up", "run", "exec", "down", "logs", "ps", "build", "pull", "stop"}, (
        f"`docker compose {verb}`: no check knows this command"
    )
    named = [word for word in rest if not word.startswith("-")]
    if verb in {"run", "exec"}:
        assert named[0] in services, f"`{named[0]}` is no service of docker-compose.yml"
    else:
        assert set(named) <= services, f"{named}: not all of them services of docker-compose.yml"
