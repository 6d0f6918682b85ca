"""Two numbers that outlive a power cut: two files written in turn, each with a count and a CRC.

A cut during a write leaves the other file good. MicroPython 1.9's subset.
"""

import os

try:
    import ustruct as struct
except ImportError:
    import struct

import frames

BYTES = 16


class Store:
    """`life` and `ceiling` as the newest good file has them; 0 and 0 where there is none."""

    def __init__(self, path):
        self.paths = (path + "0", path + "1")
        self.count = 0
        self.life = 0
        self.ceiling = 0
        for path in self.paths:
            record = self._read(path)
            if record and record[0] > self.count:
                self.count, self.life, self.ceiling = record

    def _read(self, path):
        try:
            with open(path, "rb") as file:
                data = file.read(BYTES + 1)
        except OSError:
            return None
        if len(data) != BYTES or frames.checksum(data[:12]) != data[12:]:
            return None
        return struct.unpack("<III", data[:12])

    def put(self, life, ceiling):
        """Write both over the older file and read them back; OSError where they are not there afterwards."""
        record = self.count + 1, life, ceiling
        data = struct.pack("<III", *record)
        path = self.paths[record[0] & 1]
        with open(path, "wb") as file:
            file.write(data + frames.checksum(data))
            file.flush()
            if hasattr(os, "fsync"):
                os.fsync(file.fileno())
        if self._read(path) != record:
            raise OSError("not kept: " + path)
        self.count, self.life, self.ceiling = record
