"""Certificates for a server on loopback, made by the `openssl` program."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from loadtest.servers.guarded import LOOPBACK, Missing, run

DAYS = "2"
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: an authority, what it signed, and one that signed nothing."""

    authority: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path
    stranger: Path  # another authority: who trusts only this one trusts no one here


def require() -> None:
    """Missing where there is no `openssl` program."""
    if shutil.which("openssl") is None:
        raise Missing("`openssl` program", "openssl")


def make(folder: Path) -> Certificates:
    """Make them in `folder`: an authority, a server's for localhost and 127.0.0.1, a client's."""
    require()
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("authority", "stranger"):
        _request(folder, name, "-x509", "-days", DAYS)
    for name, use in (("server", "serverAuth"), ("client", "clientAuth")):
        _request(folder, name)
        _sign(folder, name, use)
    return Certificates(
        authority=folder / "authority.pem",
        server=folder / "server.pem",
        server_key=folder / "server.key",
        client=folder / "client.pem",
        client_key=folder / "client.key",
        stranger=folder / "stranger.pem",
    )


def _request(folder: Path, name: str, *more: str) -> None:
    files = ("-keyout", f"{name}.key", "-out", f"{name}.pem")
    run(["openssl", "req", *KEY, *files, "-subj", f"/CN=lumbre {name}", *more], cwd=folder)


def _sign(folder: Path, name: str, use: str) -> None:
    names = f"subjectAltName=DNS:localhost,IP:{LOOPBACK}\nextendedKeyUsage={use}\n"
    (folder / f"{name}.ext").write_text(names)
    signer = ("-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial", "-days", DAYS)
    files = ("-in", f"{name}.pem", "-out", f"{name}.pem", "-extfile", f"{name}.ext")
    run(["openssl", "x509", "-req", *files, *signer], cwd=folder)
