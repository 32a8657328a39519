"""A certificate authority for tests."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs certificates; its files are in `directory`."""

    directory: Path

    @classmethod
    def create(cls, directory: Path) -> Authority:
        _openssl(directory, "req", "-x509", *_KEY, "-subj", "/CN=test", "-keyout", "ca.key", "-out", "ca.pem")
        return cls(directory)

    def server_context(self, *names: str) -> ssl.SSLContext:
        """A context for a server with a certificate for `names`."""
        subject = ("-subj", f"/CN={names[0]}", "-addext", "subjectAltName=" + ",".join(f"DNS:{name}" for name in names))
        signed_by = ("-CA", "ca.pem", "-CAkey", "ca.key")
        _openssl(self.directory, "req", "-x509", *_KEY, *subject, *signed_by, "-keyout", "key.pem", "-out", "cert.pem")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.directory / "cert.pem", self.directory / "key.pem")
        return context

    def client_context(self) -> ssl.SSLContext:
        """A context for a client that trusts only this authority."""
        return ssl.create_default_context(cafile=str(self.directory / "ca.pem"))


def _openssl(directory: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments, "-days", "2"], cwd=directory, check=True, capture_output=True)
