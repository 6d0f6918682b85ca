"""Loads paho without the web client of the standard library, which paho needs for SOCKS proxies only: 1.3 MiB less."""
from __future__ import annotations

import importlib.util
import sys
import types

WEB_CLIENT = "urllib.request"


def load_paho() -> None:
    """Import `paho.mqtt.client`. With PySocks installed, or the web client loaded already, nothing is left out."""
    if WEB_CLIENT in sys.modules or importlib.util.find_spec("socks") is not None:
        return
    sys.modules[WEB_CLIENT] = types.ModuleType(WEB_CLIENT)
    try:
        import paho.mqtt.client  # noqa: F401
    finally:
        del sys.modules[WEB_CLIENT]
