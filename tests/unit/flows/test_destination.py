"""A notification goes to the address that was looked at, and to none that the operator did not mean."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from crucible.settings import WebhookSettings
from flows.notify import is_public, notify
from tests.support.webhook import Receiver

EVENT = {"event": "parity-sweep"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver on loopback that takes everything."""
    made = Receiver()
    yield made
    made.close()


def to(url: str, *, allow_private: bool = False) -> WebhookSettings:
    return WebhookSettings(url=url, secret=SecretStr("a secret"), within_s=0.5, allow_private=allow_private)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.100.100.200"),
        *("169.254.169.254", "168.63.129.16", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "ff02::1"),
        *("::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::a9fe:a9fe", "2002:a00:1::"),
    ],
)
def test_addresses_of_machines_of_ones_own_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_addresses_of_others_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"])
async def test_however_it_is_written_this_machine_is_not_told_unless_it_is_meant(
    receiver: Receiver, host: str
) -> None:
    url = receiver.url.replace("127.0.0.1", host)
    delivery = await notify(to(url), EVENT)
    assert not delivery.delivered
    assert "CRUCIBLE_WEBHOOK_ALLOW_PRIVATE" in delivery.note
    assert receiver.posted == []


async def test_a_name_that_is_meant_is_kept_while_its_address_is_connected_to(receiver: Receiver) -> None:
    url = receiver.url.replace("127.0.0.1", "localhost")
    assert (await notify(to(url, allow_private=True), EVENT)).delivered
    [posted] = receiver.posted
    assert posted.headers["host"] == url.split("/")[2]


async def test_a_proxy_that_the_environment_names_is_not_asked(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = Receiver()
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    assert (await notify(to(receiver.url, allow_private=True), EVENT)).delivered
    proxy.close()
    assert (len(receiver.posted), proxy.posted) == (1, [])


async def test_a_name_that_nobody_knows_raises_nothing() -> None:
    delivery = await notify(to("http://receiver.invalid/hook"), EVENT)
    assert not delivery.delivered
    assert "cannot be resolved" in delivery.note


async def test_certificates_are_checked_against_the_name_and_not_the_address(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = certificate_for("localhost", tmp_path)
    names = serve_tls(receiver._server, certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    url = receiver.url.replace("http://", "https://")

    assert (await notify(to(url.replace("127.0.0.1", "localhost"), allow_private=True), EVENT)).delivered
    assert names == ["localhost"]

    refused = await notify(to(url, allow_private=True), EVENT)
    assert not refused.delivered, "the certificate is not for the address"
    assert "CERTIFICATE_VERIFY_FAILED" in refused.note


def serve_tls(server: ThreadingHTTPServer, certificate: Path) -> list[str | None]:
    """Lets ``server`` speak TLS; returns the names that clients will have asked for."""
    names: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return names


def certificate_for(name: str, folder: Path) -> Path:
    """A certificate for ``name``, signed by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path
