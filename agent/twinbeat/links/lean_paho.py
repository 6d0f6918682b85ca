"""Loads paho without what it needs for SOCKS proxies (the web client) and for TLS only: 5 MiB less."""
from __future__ import annotations

import importlib
import importlib.util
import sys
import types

WEB_CLIENT = "urllib.request"
TLS = "ssl"


class NeverRaised(Exception):
    """Stands for errors that a connection without TLS cannot have."""


def load_paho(tls: bool) -> None:
    """Import `paho.mqtt.client`; `tls` says whether any broker is reached over TLS.

    With PySocks installed, or what is left out loaded already, nothing is left out.
    """
    absent = {}
    if importlib.util.find_spec("socks") is None:
        absent[WEB_CLIENT] = types.ModuleType(WEB_CLIENT)
    if not tls:
        absent[TLS] = types.ModuleType(TLS)
        absent[TLS].__dict__.update(SSLWantReadError=NeverRaised, SSLWantWriteError=NeverRaised)
    absent = {name: module for name, module in absent.items() if name not in sys.modules}
    sys.modules.update(absent)
    try:
        client = importlib.import_module("paho.mqtt.client")
    finally:
        for name in absent:
            del sys.modules[name]
    if tls and not hasattr(getattr(client, TLS), "SSLContext"):
        setattr(client, TLS, importlib.import_module(TLS))  # loaded without it before
