"""What the process says of itself when it is ready, in three log lines: its model, its database, its address.

The fields of each line are those of the log's JSON format; `event` tells the lines apart.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from sidecar.batching.devices import Devices
from sidecar.config import Settings
from sidecar.errors import DatabaseError, DatabaseUnavailable, SchemaError, WatchChanged
from sidecar.postgres.address import read_address
from sidecar.postgres.database import Database
from sidecar.postgres.status import WatchStatus, read_status
from sidecar.telemetry.metrics.device import DeviceFacts

READ_STATUS_S = 5.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Fact:
    """One line, and its fields."""

    text: str
    fields: dict[str, object]

    def log(self) -> None:
        logger.info("%s", self.text, extra={"fields": self.fields})


def model_fact(settings: Settings, devices: Devices) -> Fact:
    """Model and devices, and what runs the model unless it is PyTorch."""
    encoder = devices.encoder
    fields: dict[str, object] = {
        "event": "model",
        "model": encoder.model_id,
        "fingerprint": encoder.fingerprint,
        "dimensions": encoder.dimensions,
        "backend": settings.encoder_backend,
    }
    text = f"Model {encoder.model_id}, {encoder.dimensions} dimensions"
    if isinstance(encoder, DeviceFacts):
        fields |= {"device": encoder.device_name, "precision": encoder.precision}
        text = f"{text}, on {_describe_device(encoder.device_name)} in {encoder.precision}"
    if len(devices) > 1:
        names = [device.name for device in devices]
        fields["devices"] = names
        text = f"{text}, {len(names)} devices ({', '.join(names)})"
    if settings.encoder_backend != "torch":
        text = f"{text}, run by {settings.encoder_backend} from {settings.export_dir}"
    return Fact(text, fields)


async def database_fact(settings: Settings, database: Database | None) -> Fact:
    """Database, number of watches and rows pending. Takes READ_STATUS_S at most."""
    if database is None:
        return Fact("No database: DATABASE_URL is not set, so only requests are served", {"event": "database"})
    address = read_address(database.url.get_secret_value())
    host = address.hosts[0]
    name = address.options.get("dbname") or address.options.get("user") or ""
    where = f"{host.name}:{host.port}" if host.name else f"port {host.port} here"
    fields: dict[str, object] = {"event": "database", "database": name, "host": host.name, "port": host.port}
    try:
        async with asyncio.timeout(READ_STATUS_S):
            watches = await read_status(database)
    except (DatabaseError, TimeoutError) as error:
        return Fact(f"Database {name} at {where}: {_describe_error(error)}", fields)
    pending = sum(watch.pending or 0 for watch in watches)
    fields |= {"watches": len(watches), "pending": pending, "ingest": settings.ingest}
    idle = "" if settings.ingest else "; INGEST=0, so other sidecars embed them"
    return Fact(f"Database {name} at {where}: {_describe_watches(watches, pending)}{idle}", fields)


def address_fact(addresses: Sequence[str], root_path: str) -> Fact:
    """Where the service listens, and where its documentation is."""
    urls = [f"http://{address}{root_path.rstrip('/')}" for address in addresses]
    docs = f"{urls[0]}/docs"
    return Fact(
        f"Serving {' and '.join(urls)}, documentation at {docs}", {"event": "address", "urls": urls, "docs": docs}
    )


def _describe_device(name: str) -> str:
    return {"cpu": "the CPU", "mps": "Apple's GPU (mps)"}.get(name, name)


def _describe_watches(watches: Sequence[WatchStatus], pending: int) -> str:
    if not watches:
        return "nothing is watched yet (sidecar watch TABLE --source COLUMN)"
    about = "about " if any(watch.estimated for watch in watches) else ""
    rows = f"{about}{pending:,} {'row' if pending == 1 else 'rows'}" if pending else "no rows"
    return f"{len(watches)} {'watch' if len(watches) == 1 else 'watches'}, {rows} pending"


def _describe_error(error: Exception) -> str:
    match error:
        case DatabaseUnavailable():
            return "not reachable yet, tried again until it is"
        case SchemaError() | WatchChanged():
            return "not migrated yet (sidecar migrate)"
        case TimeoutError():
            return f"its status took longer than {READ_STATUS_S:g} s"
        case _:
            return f"its status cannot be read: {error}"
