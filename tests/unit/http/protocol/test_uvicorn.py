"""The contract with uvicorn: what sidecar.http.protocol and sidecar.server use of its private classes.

A new version of uvicorn that fails here needs a look at both before the bound in pyproject.toml is raised. What the
classes do together is tested over real connections, in tests/integration/http.
"""

from __future__ import annotations

import asyncio
import inspect
import tomllib
from collections import deque
from pathlib import Path

import httptools
import pytest
import uvicorn
from packaging.requirements import Requirement
from packaging.version import Version
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import Server, ServerState

from sidecar.http.protocol.bounded_protocol import BoundedHttpProtocol
from sidecar.http.protocol.request_protocol import RequestProtocol

PYPROJECT = Path(__file__).parents[4] / "pyproject.toml"

# Methods of ours that uvicorn does not have.
OWN_METHODS = {"parse_piece", "refuse", "close_after", "disconnect", "is_answering", "has_backlog"}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    return None


def overridden(subclass: type) -> list[str]:
    public = {name for name in vars(subclass) if not name.startswith("_")} | {
        name for name in vars(subclass) if name == "_start_asgi_task"
    }
    return sorted(public - OWN_METHODS)


@pytest.mark.parametrize("subclass", [RequestProtocol, BoundedHttpProtocol])
def test_every_method_that_is_overridden_is_one_of_uvicorns_with_the_same_parameters(subclass: type) -> None:
    assert overridden(subclass)
    for name in overridden(subclass):
        theirs = getattr(HttpToolsProtocol, name)
        ours = list(inspect.signature(getattr(subclass, name)).parameters)
        assert list(inspect.signature(theirs).parameters) == ours, name


def test_uvicorn_calls_the_hooks_that_are_overridden() -> None:
    source = inspect.getsource(inspect.getmodule(HttpToolsProtocol) or HttpToolsProtocol)
    for hook in ("_start_asgi_task", "on_response_complete", "timeout_keep_alive_handler", "send_400_response"):
        assert f"self.{hook}" in source, hook


async def test_a_protocol_has_the_attributes_that_are_read_and_set() -> None:
    protocol = HttpToolsProtocol(uvicorn.Config(app, log_config=None), ServerState(), {})
    assert protocol.loop is asyncio.get_running_loop()
    assert isinstance(protocol.parser, httptools.HttpRequestParser)
    assert isinstance(protocol.pipeline, deque)
    assert protocol.timeout_keep_alive_task is None
    for name in (
        *("access_log", "access_logger", "app", "app_state", "asgi_version", "client", "cycle", "expect_100_continue"),
        *("flow", "logger", "root_path", "scheme", "server", "server_state", "timeout_keep_alive", "transport"),
    ):
        assert hasattr(protocol, name), name
    assert hasattr(protocol.server_state, "default_headers")
    assert callable(protocol._unset_keepalive_if_required)


async def test_headers_and_target_of_a_request_are_attributes_until_its_head_is_complete() -> None:
    heads: list[tuple[bytes, list[tuple[bytes, bytes]]]] = []

    class Protocol(HttpToolsProtocol):
        def on_headers_complete(self) -> None:
            heads.append((self.url, self.headers))

    protocol = Protocol(uvicorn.Config(app, log_config=None), ServerState(), {})
    protocol.parser.feed_data(b"POST http://h/p?q HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n")
    assert heads == [(b"http://h/p?q", [(b"host", b"h"), (b"content-length", b"1")])]


def test_a_cycle_takes_the_arguments_it_is_given_and_has_the_attributes_that_are_read_and_set() -> None:
    parameters = set(inspect.signature(RequestResponseCycle).parameters)
    assert parameters == {
        *("scope", "transport", "flow", "logger", "access_logger", "access_log", "default_headers", "message_event"),
        *("expect_100_continue", "keep_alive", "on_response"),
    }
    initialised = inspect.getsource(RequestResponseCycle.__init__)
    for name in ("disconnected", "response_complete", "response_started", "more_body", "keep_alive", "message_event"):
        assert f"self.{name} =" in initialised, name


def test_flow_control_takes_a_transport_and_pauses_and_resumes_reading() -> None:
    assert list(inspect.signature(FlowControl).parameters) == ["transport"]
    for name in ("pause_reading", "resume_reading", "pause_writing", "resume_writing"):
        assert list(inspect.signature(getattr(FlowControl, name)).parameters) == ["self"], name


def test_the_server_has_what_sidecar_serve_overrides_and_reads() -> None:
    server = Server(uvicorn.Config(app, log_config=None))
    assert (server.should_exit, server.force_exit) == (False, False)
    for name in ("capture_signals", "main_loop", "on_tick", "serve", "shutdown"):
        assert callable(getattr(server, name)), name
    assert list(inspect.signature(server.shutdown).parameters) == ["sockets"]
    assert isinstance(server.server_state.connections, set)
    assert isinstance(server.server_state.tasks, set)


def test_the_version_is_bounded_to_the_one_that_this_was_written_for() -> None:
    dependencies = tomllib.loads(PYPROJECT.read_text())["project"]["dependencies"]
    (bound,) = [each for each in map(Requirement, dependencies) if each.name == "uvicorn"]
    installed = Version(uvicorn.__version__)
    assert bound.specifier.contains(installed)
    assert not bound.specifier.contains(Version(f"{installed.major}.{installed.minor + 1}.0"))
