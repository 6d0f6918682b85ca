"""From a broker's configuration to what a connection needs, and from a failure to a sentence with its remedy."""
from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from twinbeat.errors import KeyFileError
from twinbeat.links.mqtt_note import TOPIC_ROOT

if TYPE_CHECKING:
    import ssl

PASSWORD_BYTES_MAX = 4096

REFUSAL_REMEDIES = {
    129: "it could not read the request; does something other than an MQTT broker listen there?",
    130: "it reports a protocol error",
    132: "it does not speak MQTT 5; use a broker that does",
    133: "it does not accept this client id",
    134: "wrong user or password; check `user` and `password_file`",
    135: "not authorised; check `user` and `password_file`, and the broker's access list",
    136: "it is not available now",
    137: "it is busy",
    138: "this client is banned there",
    140: "it does not accept this authentication method",
    141: "it heard nothing from this client within the keepalive",
    142: "another client connected with the same client id: do two agents run for the same node of this pair?",
    149: "a packet was larger than it allows",
    151: "quota exceeded",
    156: "use another server, it says",
    157: "it has moved, it says",
    159: "too many connections",
}
"""MQTT 5 reason codes in words an operator can act on; others are named by paho's own text."""


@dataclass(frozen=True, kw_only=True)
class MqttOptions:
    """One broker as one link. `link` is its number in the core, `period_ms` the oldest a beat may be when sent."""

    link: int
    name: str
    pair: str
    node: str
    host: str
    port: int
    tls: bool = False
    user: str | None = None
    password: str | None = None
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    period_ms: float = 100.0
    expiry_s: int = 1
    keepalive_s: int = 5
    connect_timeout_s: float = 5.0
    backoff_min_s: float = 0.5
    backoff_max_s: float = 30.0

    @property
    def client_id(self) -> str:
        """Fixed per node and link: a new connection then ends the old one, and its will precedes our birth."""
        return f"twinbeat-{self.pair}-{self.node}-{self.name}"

    @property
    def place(self) -> str:
        """How messages name this broker."""
        return f'broker "{self.name}" ({self.host}:{self.port})'

    def topic(self, rest: str) -> str:
        """A topic of this pair."""
        return f"{TOPIC_ROOT}/{self.pair}/{rest}"


def read_password(path: str) -> str:
    """The first line of a password file that nobody else may read. Raises KeyFileError."""
    try:
        with Path(path).open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(PASSWORD_BYTES_MAX + 1)
    except OSError as error:
        raise KeyFileError(f"password_file {path}: {error.strerror}; write the password into it, mode 0600") from None
    if mode & 0o007:
        raise KeyFileError(f"password_file {path}: everybody can read it (mode {mode & 0o777:04o}); chmod 600 {path}")
    lines = data.splitlines()
    if len(data) > PASSWORD_BYTES_MAX or not lines or not lines[0]:
        raise KeyFileError(f"password_file {path}: one line with the password expected")
    try:
        return lines[0].decode()
    except UnicodeDecodeError:
        raise KeyFileError(f"password_file {path}: the password is not UTF-8 text") from None


def tls_context(options: MqttOptions) -> ssl.SSLContext | None:
    """The TLS settings of a broker, None without TLS. Raises KeyFileError when a file of them is unusable."""
    if not options.tls:
        return None
    import ssl

    for what, path in (("ca", options.ca), ("cert", options.cert), ("key", options.key)):
        if path is not None and not os.access(path, os.R_OK):
            reason = "cannot be read" if os.path.exists(path) else "does not exist"
            raise KeyFileError(f"{options.place}: {what} = {path} {reason}")
    try:
        context = ssl.create_default_context(cafile=options.ca)
    except (ssl.SSLError, OSError):
        raise KeyFileError(f"{options.place}: ca = {options.ca} holds no certificate in PEM form") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if options.cert is not None:
        try:
            context.load_cert_chain(options.cert, options.key, password="")
        except (ssl.SSLError, OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or str(error)
            raise KeyFileError(
                f"{options.place}: cert = {options.cert} with key = {options.key or options.cert} cannot be used "
                f"({reason}); both in PEM form, the key without a passphrase"
            ) from None
    return context


def explain(error: Exception) -> str:
    """Why a connection could not be made, and what to do."""
    ssl = sys.modules.get("ssl")         # loaded where TLS is used, and nowhere else
    if ssl is not None and isinstance(error, ssl.SSLCertVerificationError):
        return explain_certificate(error)
    if ssl is not None and isinstance(error, ssl.SSLError):
        reason = error.reason or error
        return f"TLS failed ({reason}); does this port speak TLS, and does the broker ask for a client certificate?"
    if isinstance(error, socket.gaierror):
        return "the host name is not known; check the name, /etc/hosts and DNS"
    if isinstance(error, TimeoutError):
        return "no answer; check the address, the network and its firewalls"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there; is the broker running, and is the port right?"
    if isinstance(error, ConnectionError):
        return "the broker closed the connection; does this port expect TLS?"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}; check the network"
    return f"{type(error).__name__}: {error}"


def explain_certificate(error: ssl.SSLCertVerificationError) -> str:
    """Which part of the certificate check failed. A gateway without a clock battery fails by time, not by trust."""
    text = error.verify_message or str(error)
    if "not yet valid" in text:
        return "its certificate is not yet valid; is the clock of this gateway set?"
    if "expired" in text:
        return "its certificate has expired; renew it, or set the clock of this gateway"
    if "mismatch" in text or "doesn't match" in text or "not valid for" in text:
        return f"its certificate is for another name ({text}); use the name in the certificate as host"
    return f"its certificate is not trusted ({text}); name the certificate authority's file as `ca` (--ca)"


def explain_refusal(value: int, name: str) -> str:
    """The remedy for a reason code of the broker."""
    return f"refused: {REFUSAL_REMEDIES.get(value, name)}"
