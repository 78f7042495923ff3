"""The container files say what the documents promise. They are read, not run: a machine without an engine checks them too."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.server import RunningServer

_DOCKERFILE = (ROOT / "Dockerfile").read_text()
_COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
_SERVICES: dict[str, Any] = _COMPOSE["services"]


def _instructions() -> list[tuple[str, str]]:
    lines = re.sub(r"\\\n\s*", "", _DOCKERFILE).splitlines()
    return [(keyword, rest) for keyword, _, rest in (line.partition(" ") for line in lines if line and not line.startswith("#"))]


def _last(keyword: str) -> str:
    return [rest for name, rest in _instructions() if name == keyword][-1]


def _tag_of(image: str) -> str:
    return image.partition(":")[2]


def test_everything_that_is_copied_is_there() -> None:
    """Each source of a COPY from the checkout exists, and .dockerignore lets it through."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [shlex.split(rest) for name, rest in _instructions() if name == "COPY" and not rest.startswith("--from")]
    sources = {source for words in copied for source in words[:-1]}
    assert sources
    assert {source for source in sources if not (ROOT / source).exists()} == set()
    assert sources <= allowed


def test_the_wheel_finds_in_the_image_all_that_it_is_built_from() -> None:
    """What the build configuration names is copied before the wheel is built."""
    before_build = _DOCKERFILE.partition("hatchling build")[0]
    for needed in ("pyproject.toml", "README.md", "LICENSE", "cstp_server", "migrations"):
        assert re.search(rf"^COPY .*\b{re.escape(needed)}\b", before_build, re.MULTILINE), needed


def test_the_image_has_several_stages_and_runs_as_nobody_special() -> None:
    """The last stage is not the building one, and ends with a numeric user that is not root."""
    instructions = _instructions()
    assert [name for name, _ in instructions].count("FROM") == 2
    last_stage = instructions[max(place for place, (name, _) in enumerate(instructions) if name == "FROM") :]
    users = [rest for name, rest in last_stage if name == "USER"]
    assert users
    assert int(users[-1].partition(":")[0]) > 0


def test_nothing_is_installed_without_its_hash() -> None:
    """Every `pip install` but that of the wheel just built checks hashes."""
    installs = re.findall(r"pip install [^&\n]*", re.sub(r"\\\n\s*", " ", _DOCKERFILE))
    assert len(installs) == 3
    assert all("--require-hashes" in line or "--no-deps dist/" in line for line in installs)


@pytest.mark.parametrize(
    "image", [*re.findall(r"^FROM (\S+)", _DOCKERFILE, re.MULTILINE), *(_SERVICES[name]["image"] for name in _SERVICES)]
)
def test_images_are_named_by_version(image: str) -> None:
    """No image without a tag, and none called `latest`."""
    assert _tag_of(image) not in {"", "latest"}


def test_the_start_command_serves_to_the_outside() -> None:
    """The image starts `cstp serve` on every interface of the container."""
    assert json.loads(_last("ENTRYPOINT")) + json.loads(_last("CMD")) == ["cstp", "serve", "--host", "0.0.0.0"]  # noqa: S104 - the container's own


def test_the_health_check_tells_up_from_down(server: RunningServer) -> None:
    """The image's own check ends with 0 while the service is up, and with something else once it is not."""
    command = json.loads(_last("HEALTHCHECK").partition("CMD ")[2])
    assert command[0] == "python"
    probe = [sys.executable, *(word.replace("8787", str(server.port)) for word in command[1:])]
    assert subprocess.run(probe, check=False, capture_output=True).returncode == 0
    server.kill()
    assert subprocess.run(probe, check=False, capture_output=True).returncode != 0


def test_two_replicas_stand_behind_one_port() -> None:
    """Two replicas of the service publish nothing themselves; the proxy publishes the one port and forwards to them by name."""
    assert _SERVICES["cstp"]["deploy"]["replicas"] == 2
    assert [name for name, service in _SERVICES.items() if "ports" in service] == ["proxy"]
    assert len(_SERVICES["proxy"]["ports"]) == 1
    caddyfile = (ROOT / "deploy" / "Caddyfile").read_text()
    assert re.search(r"name cstp\s+port 8787", caddyfile)


def test_the_proxy_waits_longer_than_the_longest_answer() -> None:
    """`cstp.awaitDecision` may take 60 s; the proxy gives every answer more than that."""
    found = re.search(r"response_header_timeout (\d+)s", (ROOT / "deploy" / "Caddyfile").read_text())
    assert found
    assert int(found.group(1)) > 60


def test_the_schema_is_at_head_before_a_replica_starts() -> None:
    """Migrations run once, after the database is healthy; replicas wait for both."""
    assert _SERVICES["migrate"]["command"] == ["db", "upgrade"]
    assert "restart" not in _SERVICES["migrate"]
    assert _SERVICES["migrate"]["depends_on"]["db"]["condition"] == "service_healthy"
    assert _SERVICES["cstp"]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert "healthcheck" in _SERVICES["db"]


def test_what_compose_names_is_declared() -> None:
    """Dependencies are services, named volumes are declared, and mounted files are there."""
    for service in _SERVICES.values():
        assert set(service.get("depends_on", {})) <= set(_SERVICES)
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert (ROOT / source).exists() if source.startswith("./") else source in _COMPOSE["volumes"], source


def test_secrets_come_from_a_file_that_is_not_tracked() -> None:
    """No password stands in the compose file; the env file is ignored, its example lists what is wanted."""
    files = {service["env_file"] for service in _SERVICES.values() if "env_file" in service}
    assert files == {"deploy/secrets.env"}
    assert "/deploy/secrets.env" in (ROOT / ".gitignore").read_text().splitlines()
    assert not re.search(r"password\s*[:=]", (ROOT / "docker-compose.yml").read_text(), re.IGNORECASE)
    names = {line.partition("=")[0] for line in (ROOT / "deploy" / "secrets.env.example").read_text().splitlines() if "=" in line}
    assert names == {"POSTGRES_PASSWORD", "PGPASSWORD"}


def test_the_replicas_are_hardened() -> None:
    """Read-only root, no capabilities, no new privileges."""
    service = _SERVICES["cstp"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_the_default_of_the_published_port_is_loopback() -> None:
    """Without a choice the port is published to this machine only."""
    assert _SERVICES["proxy"]["ports"] == ["${CSTP_PUBLISH:-127.0.0.1:8787}:8787"]


def test_the_makefile_and_ci_run_the_same() -> None:
    """CI runs `make test` and nothing else."""
    script = Path(ROOT / ".ci" / "run").read_text().splitlines()
    assert [line for line in script if not line.startswith(("#", "set ", "cd "))] == ["exec make test"]
