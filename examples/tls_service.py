"""
Say to clients, over TLS, who they are.

    openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -days 30 -keyout key.pem -out cert.pem
    plaitd -ny tls_service.py
    openssl s_client -quiet -connect 127.0.0.1:7010

Put new files in the place of the two, and the next client sees the new certificate.
"""

import asyncio

from plait import Application, Listener


async def whoami(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    host, port = writer.get_extra_info("peername")[:2]
    cipher, version, _ = writer.get_extra_info("cipher")
    writer.write(f"{host} port {port}, {version}, {cipher}\n".encode())


application = Application(
    "whoami", [Listener("ssl:7010:certKey=cert.pem:privateKey=key.pem:interface=127.0.0.1", whoami)]
)
