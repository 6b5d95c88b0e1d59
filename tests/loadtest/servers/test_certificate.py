"""Certificates are what TLS on loopback needs."""

import shutil
import socket
import ssl
from pathlib import Path
from threading import Thread

import pytest

from loadtest.servers import Certificates, Missing
from loadtest.servers.certificate import make


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if shutil.which("openssl") is None:
        pytest.skip("no `openssl` program")
    return make(tmp_path_factory.mktemp("certificates"))


def shake_hands(certificates: Certificates, trusted: Path, host: str, *, known: bool) -> None:
    """A handshake in which each side wants to see the other's certificate."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates.authority)
    server.load_cert_chain(certificates.server, certificates.server_key)
    server.verify_mode = ssl.CERT_REQUIRED
    server.maximum_version = ssl.TLSVersion.TLSv1_2  # in which the client hears of a refusal
    client = ssl.create_default_context(cafile=trusted)
    if known:
        client.load_cert_chain(certificates.client, certificates.client_key)
    ours, theirs = socket.socketpair()

    def answer() -> None:
        try:
            server.wrap_socket(theirs, server_side=True).close()
        except ssl.SSLError:
            theirs.close()  # the client sees why

    thread = Thread(target=answer)
    thread.start()
    try:
        client.wrap_socket(ours, server_hostname=host).close()
    finally:
        ours.close()
        theirs.close()
        thread.join()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_both_sides_trust_the_authority(certificates: Certificates, host: str) -> None:
    shake_hands(certificates, certificates.authority, host, known=True)


def test_who_trusts_only_a_stranger_refuses_the_server(certificates: Certificates) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(certificates, certificates.stranger, "localhost", known=True)


def test_another_host_is_refused(certificates: Certificates) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(certificates, certificates.authority, "example.org", known=True)


def test_a_client_without_a_certificate_is_refused(certificates: Certificates) -> None:
    with pytest.raises(ssl.SSLError):
        shake_hands(certificates, certificates.authority, "localhost", known=False)


def test_a_machine_without_openssl_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Missing, match="apt-get install openssl"):
        make(tmp_path)
