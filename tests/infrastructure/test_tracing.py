"""Traces of calls, for those who have asked for them (SPEC 11)."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cstp_server.telemetry import Telemetry
from tests.conftest import ROOT, StartServer
from tests.server import RunningServer

PARENT = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACED = {"traceparent": f"00-{PARENT}-00f067aa0ba902b7-01", "tracestate": "vendor=1"}
NOT_TRACED = {"traceparent": f"00-{PARENT}-00f067aa0ba902b7-00"}
KEY = "AKIA" + "Q3EGWXT7ZNPL5RVD"
Attributes = dict[str, Any]


class Collector:
    """Receives spans over HTTP, as a collector does."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        received = self.bodies

        class Receiver(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                received.append(self.rfile.read(int(self.headers["content-length"])))
                assert self.path == "/v1/traces"
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *arguments: Any) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Receiver)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    @property
    def spans(self) -> list[tuple[str, str, int, Attributes]]:
        """Every span: its name, its trace, its status, and its attributes."""
        requests = [ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        scopes = [scope for request in requests for resource in request.resource_spans for scope in resource.scope_spans]
        return [(span.name, span.trace_id.hex(), span.status.code, _plain(span.attributes)) for scope in scopes for span in scope.spans]

    @property
    def services(self) -> set[str]:
        """Who says that it sends them."""
        requests = [ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        return {_plain(spans.resource.attributes)["service.name"] for request in requests for spans in request.resource_spans}

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def _plain(attributes: Any) -> Attributes:
    return {each.key: getattr(each.value, str(each.value.WhichOneof("value"))) for each in attributes}


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector on this machine."""
    collector = Collector()
    yield collector
    collector.close()


def _call(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def test_each_call_is_a_span_that_says_what_was_decided_and_nothing_else(start_server: StartServer, collector: Collector) -> None:
    """Method, decision and intervention, within the caller's trace; no texts; what is left at the end of the service is sent, too."""
    server = start_server(env={"CSTP_OTEL_ENDPOINT": collector.url, "OTEL_SERVICE_NAME": "governor"})
    action = {"description": f"deploy with {KEY} for somebody"}
    server.raw(_call("cstp.checkGuardrails", action={"description": "fine"}, decisionId="dec-1"), headers=TRACED | {"x-request-id": "r-1"})
    server.raw(_call("cstp.checkGuardrails", action=action, decisionId=KEY))
    server.raw(_call("cstp.reviewDecision", id="dec-1", outcome="success", notes="a remark of somebody"))
    server.raw([_call("cstp.getDecision", id="dec-2"), _call("cstp.nowhere"), _call("cstp.getMetrics", since="somebody")])
    server.raw(_call("cstp.checkGuardrails", action={"description": "not recorded"}, decisionId="dec-3"), headers=NOT_TRACED)
    server.terminate()
    spans = collector.spans
    assert [name for name, _, _, _ in spans] == [
        "cstp.checkGuardrails",
        "cstp.checkGuardrails",
        "cstp.reviewDecision",
        "cstp.getDecision",
        "cstp.getMetrics",
    ]
    name, trace, status, attributes = spans[0]
    assert (trace, status) == (PARENT, 0)
    assert attributes == {
        "rpc.system": "jsonrpc",
        "rpc.service": "cstp",
        "rpc.method": name,
        "cstp.request_id": "r-1",
        "cstp.decision_id": "dec-1",
        "cstp.intervention": "allow",
    }
    assert spans[1][1] != PARENT
    assert spans[1][3]["cstp.intervention"] == "block"
    assert spans[2][3]["cstp.decision_id"] == "dec-1"
    assert [attributes.get("rpc.jsonrpc.error_code") for _, _, _, attributes in spans[3:]] == [-32007, -32602]
    assert "somebody" not in json.dumps(spans)
    assert KEY not in json.dumps(spans)
    assert collector.services == {"governor"}


def test_a_collector_that_is_not_there_harms_nobody(start_server: StartServer) -> None:
    """Calls are answered, and the service ends in order."""
    server = start_server(env={"CSTP_OTEL_ENDPOINT": "http://127.0.0.1:9"})
    for number in range(5):
        assert server.call("cstp.checkGuardrails", {"action": {"description": "x"}, "decisionId": f"dec-{number}"})["allowed"]
    server.terminate()


def test_the_share_of_traces_that_begin_here_is_a_setting() -> None:
    """With 0 only those are recorded that their callers record."""
    exporter = InMemorySpanExporter()
    telemetry = Telemetry(exporter, "cstp-server", 0.0)
    for propagated in ({}, TRACED, NOT_TRACED, {"traceparent": "rubbish"}):
        with telemetry.call("cstp.getMetrics", "r", propagated) as span:
            span.failed(-32603, is_fault=True)
    telemetry.stop()
    (recorded,) = exporter.get_finished_spans()
    assert recorded.context is not None
    assert f"{recorded.context.trace_id:032x}" == PARENT
    assert not recorded.status.is_ok


def test_nothing_of_opentelemetry_is_loaded_unless_it_is_asked_for() -> None:
    """The service runs where the extra is not installed."""
    program = "import sys, cstp_server.app, cstp_server.backend; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, check=False).returncode == 0


def test_the_extra_is_asked_for_where_it_is_missing(tmp_path: Path) -> None:
    """The service does not start, and says what to install."""
    program = (
        "import sys; sys.modules['opentelemetry.exporter'] = None; sys.argv = ['cstp', 'serve', '--port', '0'];"
        "from cstp_server.__main__ import main; main()"
    )
    environment = {"PYTHONPATH": str(ROOT), "CSTP_OTEL_ENDPOINT": "http://127.0.0.1:9", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert "`CSTP_OTEL_ENDPOINT` takes the extra `otel`" in done.stderr


@pytest.mark.parametrize("url", ["127.0.0.1:4318", "grpc://127.0.0.1:4317"])
def test_what_is_no_collector_stops_the_start(url: str, tmp_path: Path) -> None:
    """It is named, with what would be right."""
    server = RunningServer(tmp_path / "bad", env={"CSTP_OTEL_ENDPOINT": url})
    assert server.spawn_and_wait() == 1
    assert "`CSTP_OTEL_ENDPOINT` must be a URL such as `http://127.0.0.1:4318`" in server.logs
