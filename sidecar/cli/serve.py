"""`sidecar serve`, and the start of a service as `sidecar demo` needs it too."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeAlias

import typer

from sidecar.cli.errors import PortUnavailable
from sidecar.cli.options import DatabaseUrl
from sidecar.listening import CannotListen, open_listeners
from sidecar.port_holder import name_port_holder

if TYPE_CHECKING:
    from sidecar.config import Settings

Port: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="PORT", min=1, max=65535, help="The port to serve on. Default: BIND_PORT (9000).", show_default=False
    ),
]
RootPath: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="PATH", help="Path prefix that a proxy in front adds. Default: ROOT_PATH.", show_default=False
    ),
]


def serve(port: Port = None, database_url: DatabaseUrl = None, root_path: RootPath = None) -> None:
    """Run the service: embed rows and answer requests, until Ctrl-C.

    The rows are those of watched tables; the requests come over REST.

    Everything is set by environment variables. The default model weighs 3.5 GB and wants a GPU;
    HF_TOKEN is for models that Hugging Face gives to members only.

    Example: DATABASE_URL=postgresql://me:secret@localhost/shop sidecar serve --port 9100
    """
    settings = load_settings_with(port, database_url, root_path)
    check_port(settings.bind_host, settings.bind_port, f"Choose another: sidecar serve --port {settings.bind_port + 1}")
    from sidecar.server import serve as run_server

    exit_after_serving(run_server(settings))


def load_settings_with(port: int | None, database_url: str | None = None, root_path: str | None = None) -> Settings:
    """The settings of the environment, overridden by options that are not None. Raises ConfigurationError."""
    from sidecar.config import Settings, load_settings

    values = load_settings(database_url=database_url).model_dump(exclude_unset=True)
    if port is not None:
        values["bind_port"] = port
    if root_path is not None:
        values["root_path"] = load_settings({"ROOT_PATH": root_path}).root_path
    return Settings(**values)


def check_port(bind_host: str, port: int, advice: str) -> None:
    """Raises PortUnavailable unless the port can be listened on; `advice` is the hint if another program has it."""
    try:
        listeners = open_listeners(bind_host, port)
    except CannotListen as error:
        if error.number == errno.EADDRINUSE:
            message = f"port {port} of {error.host} is in use by {name_port_holder(port)}.\nHINT: {advice}"
        else:
            message = f"{error}\nHINT: BIND_HOST and BIND_PORT (or --port) say where."
        raise PortUnavailable(message) from error
    for listener in listeners:
        listener.close()


def exit_after_serving(exit_code: int) -> NoReturn:
    """Ends the process without finalising the interpreter: its last garbage collections scan torch for 2 s."""
    from sidecar.process_exit import exit_despite_threads

    exit_despite_threads(exit_code)
