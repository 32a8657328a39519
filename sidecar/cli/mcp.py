"""`sidecar mcp`"""

from __future__ import annotations

from typing import Annotated

import typer

from sidecar.cli.options import DatabaseUrl
from sidecar.cli.serve import check_port
from sidecar.errors import ConfigurationError

_DEFAULT_PORT = 9010


def mcp(
    http: Annotated[bool, typer.Option("--http", help="Streamable HTTP at /mcp instead of stdio.")] = False,
    host: Annotated[str, typer.Option(metavar="HOST", help="With --http: the address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="PORT", min=1, max=65535, help="With --http: the port to listen on.")
    ] = _DEFAULT_PORT,
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The service. Default: SIDECAR_URL, or this machine's.", show_default=False),
    ] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Give language models tools to search and to see what is embedded.

    They are search, embed, status, failures and explain.

    The tools ask a running `sidecar serve`, with the key in SIDECAR_API_KEY; over HTTP with the key that each caller
    sends. The service applies the key's scopes, tables, filter and limits. Failures and explain need DATABASE_URL.
    All tools only read. Needs the extra: pip install 'sidecar-embeddings[mcp]'

    \b
    Examples:
      SIDECAR_URL=http://127.0.0.1:9000 sidecar mcp
      sidecar mcp --http --port 9010
    """
    from sidecar.config import load_settings

    settings = load_settings(database_url=database_url)
    address = url or settings.sidecar_url or f"http://127.0.0.1:{settings.bind_port}"
    if not address.startswith(("http://", "https://")):
        raise ConfigurationError(
            [f"--url or SIDECAR_URL, {address}: an address such as http://127.0.0.1:9000 is expected"]
        )
    try:
        from sidecar.mcp.serving import Endpoint, serve_http, serve_stdio
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in {"mcp", "mcp_types", "httpx2"}:
            raise
        hint = "HINT: pip install 'sidecar-embeddings[mcp]'"
        raise ConfigurationError([f"The MCP SDK is not installed.\n{hint}"]) from error
    if http:
        check_port(host, port, f"Choose another: sidecar mcp --http --port {port + 1}")
        typer.echo(f"Tools for language models at http://{host}:{port}/mcp, until Ctrl-C.", err=True)
        serve_http(address, settings.database_url, Endpoint(host, port))
    else:
        key = settings.sidecar_api_key
        serve_stdio(address, settings.database_url, key.get_secret_value() if key else None)
