"""A wiretap between a site and its server: it terminates TLS on both sides and records every byte."""

from __future__ import annotations

import asyncio
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from email.parser import HeaderParser
from pathlib import Path
from types import TracebackType

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from lab import signed


@dataclass
class Connection:
    """What a site sent and received."""

    sent: bytearray = field(default_factory=bytearray)
    received: bytearray = field(default_factory=bytearray)


class Wiretap:
    """Listens for one site, whose ``kit`` is made to call it, and calls the gate with the site's own key.

    Towards the site it is the ``server``, whose certificate and key it has. The only thing that it does not see is the site's certificate, which
    holds nothing but the site's key: the wiretap requests none.
    """

    def __init__(self, kit: Path, server: Path, folder: Path) -> None:
        self.connections: list[Connection] = []
        site = (kit / "site.toml").read_text("utf-8")
        self.gate = int(site.partition('server = "127.0.0.1:')[2].partition('"')[0])
        self.towards_site, self.towards_gate = as_server(server), as_site(kit, server / "ca.crt", folder)
        self.loop = asyncio.new_event_loop()
        self.listener = self.loop.run_until_complete(
            asyncio.start_server(self.relay, "127.0.0.1", 0, ssl=self.towards_site)
        )
        self.port: int = self.listener.sockets[0].getsockname()[1]
        (kit / "site.toml").write_text(site.replace(f"127.0.0.1:{self.gate}", f"127.0.0.1:{self.port}"))
        self.thread = threading.Thread(target=self.loop.run_forever)

    def __enter__(self) -> Wiretap:
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self.end(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    async def end(self) -> None:
        self.listener.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def relay(self, site: asyncio.StreamReader, to_site: asyncio.StreamWriter) -> None:
        try:
            gate, to_gate = await asyncio.open_connection("127.0.0.1", self.gate, ssl=self.towards_gate)
        except OSError:
            # A forwarder whose gate is not up yet calls again.
            to_site.close()
            return
        self.connections.append(connection := Connection())
        ways = [copy(site, to_gate, connection.sent), copy(gate, to_site, connection.received)]
        tasks = [self.loop.create_task(way) for way in ways]
        try:
            # The side that hangs up first ends both.
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            pass
        finally:
            for task in tasks:
                task.cancel()
            for writer in (to_gate, to_site):
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()


async def copy(source: asyncio.StreamReader, drain: asyncio.StreamWriter, record: bytearray) -> None:
    with suppress(OSError):
        while read := await source.read(1 << 16):
            record += read
            drain.write(read)
            await drain.drain()


def as_server(server: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(server / "server.crt", server / "server.key")
    return context


def as_site(kit: Path, ca: Path, folder: Path) -> ssl.SSLContext:
    """A context with a certificate that is signed by the site's own key, as the forwarder makes one."""
    key = serialization.load_ssh_private_key((kit / "key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "effgan site")])
    certificate = signed(name, key.public_key(), name, key, x509.BasicConstraints(False, None))
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = folder / "wiretap.pem"
    file.write_bytes(private + certificate.public_bytes(pem))
    context = ssl.create_default_context(cafile=str(ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(file)
    file.unlink()
    return context


def heads(stream: bytes) -> list[tuple[str, set[str]]]:
    """First lines and header names of the HTTP requests, or the responses, in one direction.

    Raises if a body is chunked or compressed in transit, because a search of the stream would miss its text.
    """
    found = []
    while stream:
        head, _, stream = stream.partition(b"\r\n\r\n")
        first, _, fields = head.decode("ascii").partition("\r\n")
        headers = HeaderParser().parsestr(fields)
        names = {name.lower() for name in headers}
        if not first.startswith(("POST /", "HTTP/1.1 ")) or names & {"content-encoding", "transfer-encoding"}:
            raise ValueError(head)
        found.append((first, names))
        stream = stream[int(headers["content-length"] or 0) :]
    return found
