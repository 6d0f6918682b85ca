"""Frames in and out of bytes, as Python sees it; the layout and the C functions are in codec.pyx."""
from enum import IntEnum

from libc.stdint cimport uint8_t
from libc.string cimport memset

from twinbeat_core.codec cimport (
    ECHO_BYTES, HEADER_BYTES, MAX_FRAME, MAX_WIRE, ROW_BYTES, TAG_BYTES, WIRE_BAD_FORM, WIRE_BAD_TAG, WIRE_OK,
    WIRE_OTHER_PAIR, WIRE_SHORT, WIRE_UNKNOWN_VERSION, serial_feed, serial_reader_init, serial_reader_t, serial_wrap,
    wire_decode, wire_encode,
)
from twinbeat_core.model cimport KEY_BYTES, MAX_GROUPS, MAX_NODES, frame_t

from .errors import FrameError
from .frames import Echo, Frame, Row


class WireCode(IntEnum):
    """What became of bytes that were taken for a frame."""

    WIRE_OK = 0
    WIRE_SHORT = 1
    WIRE_UNKNOWN_VERSION = 2
    WIRE_OTHER_PAIR = 3
    WIRE_BAD_TAG = 4
    WIRE_BAD_FORM = 5


def _check_fits(frame) -> None:
    """Raises FrameError naming the first field that the wire cannot carry."""
    limits = (("source", 7), ("incarnation", 0xffffffff), ("stamp", (1 << 48) - 1), ("pair_id", 0xffff), ("kind", 1),
              ("flags", 255), ("link_seq", 255), ("health", 255), ("load", 255), ("config_digest", 0xffff),
              ("sync_position", 0xffffffff), ("version", 15), ("version_max", 15))
    for name, highest in limits:
        _fits(name, getattr(frame, name), highest)
    for echo in frame.echoes:
        for name, value, highest in zip(Echo._fields, echo, (7, 255, 0xffff, 0xffffffff, (1 << 48) - 1), strict=True):
            _fits(f"echo {name}", value, highest)
    for row in frame.rows:
        for name, value, highest in zip(Row._fields, row, (5, 15, 15, 0xffffffff, 15), strict=True):
            _fits(f"row {name}", value, highest)


def _fits(name, value, highest) -> None:
    if not 0 <= value <= highest:
        raise FrameError(f"{name} = {value} does not fit the frame: 0 to {highest}", WIRE_BAD_FORM)


cdef int frame_to_c(object frame, frame_t* c) except -1:
    cdef int i
    memset(c, 0, sizeof(frame_t))
    _check_fits(frame)
    if len(frame.echoes) > MAX_NODES or len(frame.rows) > MAX_GROUPS:
        raise FrameError(f"{len(frame.echoes)} echoes and {len(frame.rows)} rows; at most 8 and 64", WIRE_BAD_FORM)
    c.kind, c.version, c.version_max, c.source = frame.kind, frame.version, frame.version_max, frame.source
    c.flags, c.link_seq, c.health, c.load = frame.flags, frame.link_seq, frame.health, frame.load
    c.pair_id, c.config_digest = frame.pair_id, frame.config_digest
    c.incarnation, c.sync_position, c.stamp = frame.incarnation, frame.sync_position, frame.stamp
    c.echo_count, c.row_count = len(frame.echoes), len(frame.rows)
    for i, echo in enumerate(frame.echoes):
        c.echo[i].node, c.echo[i].hears, c.echo[i].grant_ms = echo.node, echo.hears, echo.grant_ms
        c.echo[i].incarnation, c.echo[i].stamp = echo.incarnation, echo.stamp
    for i, row in enumerate(frame.rows):
        c.row[i].state, c.row[i].vote, c.row[i].flags, c.row[i].epoch = row.state, row.vote, row.flags, row.epoch
        c.row[i].prepare = row.prepare
    return 0


cdef object frame_from_c(const frame_t* c):
    return Frame(
        kind=c.kind, version=c.version, version_max=c.version_max, source=c.source, flags=c.flags,
        link_seq=c.link_seq, health=c.health, load=c.load, pair_id=c.pair_id, config_digest=c.config_digest,
        incarnation=c.incarnation, sync_position=c.sync_position, stamp=c.stamp,
        echoes=tuple(Echo(c.echo[i].node, c.echo[i].hears, c.echo[i].grant_ms, c.echo[i].incarnation, c.echo[i].stamp)
                     for i in range(c.echo_count)),
        rows=tuple(Row(c.row[i].state, c.row[i].vote, c.row[i].flags, c.row[i].epoch, c.row[i].prepare)
                   for i in range(c.row_count)),
    )


cdef const uint8_t* checked_key(bytes key) except NULL:
    if len(key) != KEY_BYTES:
        raise FrameError(f"key of {len(key)} bytes; 16 are needed", WIRE_BAD_TAG)
    return <const uint8_t*><char*>key


def encode(frame, bytes key not None) -> bytes:
    """The bare frame as it goes over MQTT and UDP. Raises FrameError for a key or count out of its limit."""
    cdef frame_t c
    cdef uint8_t out[MAX_FRAME]
    frame_to_c(frame, &c)
    cdef int size = wire_encode(&c, c.link_seq, checked_key(key), out, MAX_FRAME)
    return (<char*>out)[:size]


WIRE_TEXT = {
    WireCode.WIRE_SHORT: "shorter than any frame",
    WireCode.WIRE_UNKNOWN_VERSION: "another protocol version",
    WireCode.WIRE_OTHER_PAIR: "another pair's frame",
    WireCode.WIRE_BAD_TAG: "wrong tag: another key, or changed on the way",
    WireCode.WIRE_BAD_FORM: "counts or values out of range",
}


def decode(bytes data not None, bytes key not None, int pair_id):
    """Read and authenticate one bare frame. Raises FrameError whose `code` is the WireCode."""
    cdef frame_t c
    _fits("pair_id", pair_id, 0xffff)
    cdef int code = wire_decode(<const uint8_t*><char*>data, len(data), checked_key(key), pair_id, &c)
    if code != WIRE_OK:
        raise FrameError(f"frame of {len(data)} bytes refused: {WIRE_TEXT[WireCode(code)]}", code)
    return frame_from_c(&c)


def wrap(bytes frame not None) -> bytes:
    """A bare frame made ready for a serial line."""
    cdef uint8_t out[MAX_WIRE]
    cdef int size = serial_wrap(<const uint8_t*><char*>frame, len(frame), out, MAX_WIRE)
    if size < 0:
        raise FrameError(f"frame of {len(frame)} bytes; the longest has {MAX_FRAME}", WIRE_BAD_FORM)
    return (<char*>out)[:size]


def frame_wire_bytes(int nodes, int groups) -> int:
    """Bytes of one heartbeat on a serial line between `nodes` nodes with `groups` groups."""
    cdef int bare = HEADER_BYTES + (nodes - 1) * ECHO_BYTES + groups * ROW_BYTES + TAG_BYTES + 4
    return bare + bare // 254 + 1 + 2


cdef class SerialReader:
    """Cuts a serial byte stream into bare frames; noise, half frames and over-long pieces are counted."""

    cdef serial_reader_t c

    def __cinit__(self):
        serial_reader_init(&self.c)

    @property
    def noise(self) -> int:
        """Pieces dropped so far."""
        return self.c.noise

    def feed(self, bytes data not None) -> list:
        """The bare frames completed by `data`, in order."""
        cdef const uint8_t* p = <const uint8_t*><char*>data
        cdef int left = len(data)
        cdef int used = 0
        cdef int size
        frames = []
        while left > 0:
            size = serial_feed(&self.c, p, left, &used)
            if size > 0:
                frames.append((<char*>self.c.frame)[:size])
            p += used
            left -= used
        return frames
