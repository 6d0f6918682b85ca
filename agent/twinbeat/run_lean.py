"""Imported before anything else by `twinbeat run`: keeps the OpenSSL library out of an agent that needs no TLS.

The interpreter's own digests do for a configuration's checksum. Where a broker is reached over TLS the library is
loaded all the same, by `ssl`. About 4 MiB less.
"""
from __future__ import annotations

import sys

OPENSSL_DIGESTS = "_hashlib"

if "hashlib" not in sys.modules:
    sys.modules.setdefault(OPENSSL_DIGESTS, None)  # type: ignore[arg-type]
