"""Frames between gateways and the third voter: read and made. Layout: docs/third-voter.md.

On a serial line a CRC-32 follows, the whole is COBS-stuffed and stands between zero bytes, as heartbeats are. The
witness sends the same bytes over MQTT with a SipHash tag in place of the CRC. MicroPython 1.9's subset.
"""

try:
    from ubinascii import crc32
except ImportError:
    try:
        from binascii import crc32
    except ImportError:
        crc32 = None

try:
    import ustruct as struct
except ImportError:
    import struct

VERSION = 0xD1
ASK = 1           # promise to me, or renew; rows: group, epoch (0: only tell the floor)
RETURN = 2        # these claims are over
DEATH = 3         # from the gate: the agent of this incarnation is dead, the outputs of these groups are off
QUERY = 4         # who are you; no rows
VOTE = 17
TOLD = 18

ASK_HEAD = "<BBBBHIIHIIH"
ASK_HEAD_BYTES = 26
ASK_ROW = "<BI"
ASK_ROW_BYTES = 5
VOTE_HEAD = "<BBBBHIIHIIIH"
VOTE_HEAD_BYTES = 30
VOTE_ROW = "<BBBBIH"
VOTE_ROW_BYTES = 10
TOLD_TAIL = "<BBBBIIIIIIHBBHH"
TOLD_TAIL_BYTES = 36
MAX_ROWS = 16
MAX_BODY = VOTE_HEAD_BYTES + MAX_ROWS * VOTE_ROW_BYTES

# CRC-32 by nibbles, in two halves of 16 bits: a small integer has 31 bits on the boards.
_LOW = (0x0000, 0x1064, 0x20C8, 0x30AC, 0x4190, 0x51F4, 0x6158, 0x713C,
        0x8320, 0x9344, 0xA3E8, 0xB38C, 0xC2B0, 0xD2D4, 0xE278, 0xF21C)
_HIGH = (0x0000, 0x1DB7, 0x3B6E, 0x26D9, 0x76DC, 0x6B6B, 0x4DB2, 0x5005,
         0xEDB8, 0xF00F, 0xD6D6, 0xCB61, 0x9B64, 0x86D3, 0xA00A, 0xBDBD)


def soft_crc(data):
    """CRC-32 (IEEE 802.3) as four bytes, least first."""
    low = high = 0xFFFF
    for byte in data:
        for n in (byte, byte >> 4):
            i = (low ^ n) & 15
            low = (low >> 4 | (high & 15) << 12) ^ _LOW[i]
            high = high >> 4 ^ _HIGH[i]
    low ^= 0xFFFF
    high ^= 0xFFFF
    return bytes((low & 255, low >> 8, high & 255, high >> 8))


def checksum(data):
    """CRC-32 as four bytes, least first, by the interpreter's own function where it has one."""
    if crc32 is None:
        return soft_crc(data)
    return struct.pack("<I", crc32(data) & 0xFFFFFFFF)


def wrap(body):
    """A body as it stands on the wire: checked, stuffed, between zero bytes."""
    data = body + checksum(body)
    out = bytearray(len(data) + 3)
    mark = 1
    at = 2
    for byte in data:
        if byte:
            out[at] = byte
        else:
            out[mark] = at - mark
            mark = at
        at += 1
    out[mark] = at - mark
    return bytes(out)


def unwrap(data):
    """The body between two zero bytes, or None for noise. Bodies are short: no block of 254 bytes has no zero."""
    size = len(data)
    if size < 6:
        return None
    out = bytearray(size - 1)
    at = 0
    while at < size:
        step = data[at]
        stop = at + step
        if stop > size:
            return None
        for i in range(at + 1, stop):
            out[i - 1] = data[i]
        at = stop
        if at < size:
            out[at - 1] = 0
    body = bytes(out[:-4])
    return body if checksum(body) == bytes(out[-4:]) else None


class Reader:
    """Cuts a stream of bytes into bodies. `noise` counts pieces that were dropped."""

    def __init__(self, longest=MAX_BODY + 8):
        self.longest = longest
        self.noise = 0
        self._left = b""
        self._skipping = False

    def feed(self, data):
        """The bodies that these bytes completed, oldest first."""
        bodies = []
        data = self._left + data
        while True:
            end = data.find(b"\0")
            if end < 0:
                break
            if end and not self._skipping:
                body = unwrap(data[:end])
                if body is None:
                    self.noise += 1
                else:
                    bodies.append(body)
            self._skipping = False
            data = data[end + 1:]
        if len(data) > self.longest:
            if not self._skipping:
                self.noise += 1
            self._skipping = True
            data = b""
        self._left = data
        return bodies


def read_ask(body):
    """(kind, node, pair, incarnation, stamp, life, clock, grant, rows) or None; rows: [(group, epoch)]."""
    if len(body) < ASK_HEAD_BYTES or body[0] != VERSION:
        return None
    head = struct.unpack(ASK_HEAD, body[:ASK_HEAD_BYTES])
    count = head[3]
    if not ASK <= head[1] <= QUERY or count > MAX_ROWS or len(body) != ASK_HEAD_BYTES + count * ASK_ROW_BYTES:
        return None
    rows = []
    for at in range(ASK_HEAD_BYTES, len(body), ASK_ROW_BYTES):
        rows.append(struct.unpack(ASK_ROW, body[at:at + ASK_ROW_BYTES]))
    return head[1], head[2], head[4], head[5], head[6] | head[7] << 32, head[8], head[9], head[10], rows


def vote_head(kind, count, node, pair, incarnation, stamp, life, clock, voter, heard):
    """The first 30 bytes of an answer to `node`."""
    return struct.pack(VOTE_HEAD, VERSION, kind, node, count, pair, incarnation, stamp & 0xFFFFFFFF, stamp >> 32,
                       life, clock, voter, heard)


def vote_row(group, code, contacts, epoch, ms):
    """One group of a VOTE."""
    return struct.pack(VOTE_ROW, group, code, contacts, 0, epoch, ms)
