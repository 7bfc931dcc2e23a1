"""Mail to the operator, by SMTP: the standard library's client, in a thread of its own."""

import asyncio
import smtplib
import ssl
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

from app.domain.errors import ConfigurationError

_TIMEOUT_SECONDS = 15.0
_PORTS = {"smtp": 587, "smtps": 465}


class SmtpMail:
    """`url` is `smtp://user:password@host:port` (STARTTLS where the server offers it) or `smtps://…`."""

    def __init__(self, url: str, *, sender: str, recipient: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ConfigurationError("BALLAST_SMTP_URL: smtp://host:port or smtps://host:port is needed")
        self._scheme, self._host = parts.scheme, parts.hostname
        self._port = parts.port or _PORTS[parts.scheme]
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        self._sender, self._recipient = sender, recipient

    async def send(self, subject: str, text: str) -> None:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self._sender, self._recipient, subject
        message.set_content(text)
        await asyncio.to_thread(self._send, message)

    def _send(self, message: EmailMessage) -> None:
        with self._connected() as server:
            if self._scheme == "smtp" and server.has_extn("starttls"):
                server.starttls(context=ssl.create_default_context())
                server.ehlo()
            if self._user:
                if not isinstance(server.sock, ssl.SSLSocket):  # whoever is in between can take STARTTLS out
                    raise smtplib.SMTPNotSupportedError("no password is given to a server without TLS")
                server.login(self._user, self._password)
            server.send_message(message)

    def _connected(self) -> smtplib.SMTP:
        if self._scheme == "smtps":
            context = ssl.create_default_context()
            return smtplib.SMTP_SSL(self._host, self._port, timeout=_TIMEOUT_SECONDS, context=context)
        server = smtplib.SMTP(self._host, self._port, timeout=_TIMEOUT_SECONDS)
        server.ehlo()
        return server
