"""What is put on a board: the firmware's modules without what only people read, and its version and build number.

    bundle("rp2", pair_id).files            the files that go into the board's file system
    microbit_hex(bundle("microbit", pair_id), firmware_hex)   the one file that is copied to a micro:bit's drive
"""
from __future__ import annotations

import ast
import hashlib
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from .link import link
from .squeeze import FirmwareError, constants, parse, strip

SOURCE = Path(__file__).parent / "arbiter"
MODULES = ("lease.py", "frames.py", "store.py", "contacts.py", "arbiter.py")
FILES = {"rp2": MODULES, "microbit": MODULES[:2], "unix": MODULES}
MAIN = {"microbit": "boards/microbit_arbiter.py"}
MICROBIT = "microbit"
MAJOR_MINOR_PATCH = ("MAJOR", "MINOR", "PATCH")

# Flash of the micro:bit under MicroPython 1.9.2: its file system of chunks of 128 bytes. The board keeps its
# reservations above FILES_END, where the interpreter would put files if it wrote any.
FILES_AT = 0x3BC00
FILES_END = 0x3EF80
ROM_END = 0x40000
IDENTITY_AT = 0x3EFF8
IDENTITY = "identity"  # the one file that is no file there: pair and build number, two words
CHUNK = 128
FILE_START = 254
LAST = 255


class Bundle(NamedTuple):
    """`files`: by their name on the board. `build`: as TOLD carries it. `version`: the firmware's."""

    files: dict[str, bytes]
    build: int
    version: tuple[int, int, int]


def bundle(board: str, pair: int, *, read_back: bool = True, source: Path = SOURCE) -> Bundle:
    """The firmware for `board` ("rp2", "microbit", "unix") that serves pair 1..65535.

    `read_back`: the relays have contacts to read (micro:bit alone; the other boards know from their own file).
    FirmwareError: no such board or pair, a source that is missing or is not Python, or one that does not fit.
    """
    if board not in FILES:
        raise FirmwareError(f"board {board!r}: there is firmware for {', '.join(FILES)}: name one of them")
    if not 1 <= pair <= 65535:
        raise FirmwareError(f"pair id {pair}: an arbiter serves one pair of 1 to 65535: give the pair's own")
    sources = read_sources(board, source)
    build = build_number(sources)
    version = firmware_version(_read(source / "arbiter.py"))
    pair_file = f"PAIR = {pair}\nBUILD = {build}\n"
    if board == MICROBIT:
        values = {"READ_BACK": read_back} | dict(zip(MAJOR_MINOR_PATCH, version, strict=True))
        return Bundle(microbit_files(sources, values) | {IDENTITY: struct.pack("<II", pair, build)}, build, version)
    files = {name: strip(name, text).encode() for name, text in sources.items()}
    return Bundle(files | {"pair.py": pair_file.encode()}, build, version)


def read_sources(board: str, source: Path = SOURCE) -> dict[str, str]:
    """The source of each of the board's modules by its name there, as it is in the project."""
    paths = {name: source / name for name in FILES[board]}
    paths |= {"board.py": source / "boards" / f"{board}.py"}
    paths |= {"main.py": source / MAIN.get(board, "main.py")}
    return {name: _read(path) for name, path in paths.items()}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FirmwareError(f"{path}: no such file: the firmware's source is incomplete, install twinbeat anew")
    except (OSError, UnicodeDecodeError) as error:
        raise FirmwareError(f"{path}: cannot be read ({error}): install twinbeat anew")


def build_number(sources: Mapping[str, str]) -> int:
    """First four bytes, big-endian, of the SHA-256 over names and texts of the modules, never 0."""
    digest = hashlib.sha256()
    for name, text in sorted(sources.items()):
        digest.update(f"{name}\0{len(text.encode())}\0{text}".encode())
    return int.from_bytes(digest.digest()[:4], "big") or 1


def firmware_version(source: str) -> tuple[int, int, int]:
    """FIRMWARE of arbiter.py."""
    value = constants(parse("arbiter.py", source)).get("FIRMWARE")
    numbers = ast.literal_eval(value) if isinstance(value, ast.Tuple) else None
    match numbers:
        case (int(major), int(minor), int(patch)):
            return major, minor, patch
    raise FirmwareError("arbiter.py: FIRMWARE is not three numbers: set it as in FIRMWARE = (1, 0, 0)")


def microbit_files(sources: Mapping[str, str], values: Mapping[str, int | bool]) -> dict[str, bytes]:
    """The files for a micro:bit's file system. FirmwareError: they do not fit into its flash, or cannot be linked."""
    files = {name: text.encode() for name, text in link(list(sources.items()), values).items()}
    over = len(_file_system(files)) - (FILES_END - FILES_AT)
    if over > 0:
        raise FirmwareError(f"the micro:bit's firmware is {over} bytes too long for its flash: shorten it")
    return files


def _file_system(files: Mapping[str, bytes]) -> bytes:
    """The image of a micro:bit's file system: in each chunk a mark, 126 bytes, the number of the next chunk."""
    chunks: list[bytes] = []
    for name, data in files.items():
        label = name.encode()
        content = bytes((0, len(label))) + label + data
        parts = [content[at:at + CHUNK - 2] for at in range(0, len(content) + 1, CHUNK - 2)]
        parts[0] = bytes((len(parts[-1]),)) + parts[0][1:]
        for number, part in enumerate(parts, len(chunks) + 1):
            first, last = part is parts[0], part is parts[-1]
            chunks.append(bytes((FILE_START if first else number - 1,)) + part.ljust(CHUNK - 2, b"\xff")
                          + bytes((LAST if last else number + 1,)))
    return b"".join(chunks)


def microbit_flash(files: Mapping[str, bytes]) -> list[tuple[int, bytes]]:
    """(address, bytes) of what goes into a micro:bit's flash beside the interpreter."""
    programs = {name: data for name, data in files.items() if name != IDENTITY}
    return [(FILES_AT, _file_system(programs)), (IDENTITY_AT, files.get(IDENTITY, b""))]


def microbit_hex(made: Bundle, interpreter: str) -> str:
    """The file for a micro:bit's drive: `interpreter` (Intel hex of MicroPython 1.9.2 for the micro:bit) and ours.

    FirmwareError: it is no Intel hex file, or it already holds something where the firmware goes.
    """
    lines = interpreter.split()
    taken = _hex_addresses(lines)
    end = ":00000001FF"
    if end not in lines:
        raise FirmwareError("the interpreter's file has no end record, so it is no Intel hex file: give MicroPython's")
    if taken & set(range(FILES_AT >> 4, ROM_END >> 4)):
        raise FirmwareError(
            f"the interpreter's file already holds something from {FILES_AT:#x} on: give MicroPython 1.9.2 for the "
            "micro:bit (version 1) without a program in it")
    records = [record for address, data in microbit_flash(made.files) for record in _hex_records(address, data)]
    start = lines.index(end)
    return "\n".join([*lines[:start], *records, *lines[start:], ""])


def _hex_addresses(lines: Iterable[str]) -> set[int]:
    """Blocks of 16 bytes that hold something."""
    base = 0
    blocks: set[int] = set()
    for number, line in enumerate(lines, 1):
        try:
            record = bytes.fromhex(line[1:])
            if line[0] != ":" or len(record) != record[0] + 5 or sum(record) % 256:
                raise ValueError
        except ValueError:
            raise FirmwareError(f"line {number} of the interpreter's file is no Intel hex record: give MicroPython's")
        at = base + int.from_bytes(record[1:3], "big")
        if record[3] == 0:
            blocks |= set(range(at >> 4, (at + record[0] + 15) >> 4))
        elif record[3] in (2, 4):
            base = int.from_bytes(record[4:6], "big") << (4 if record[3] == 2 else 16)
    return blocks


def _hex_records(address: int, data: bytes) -> Iterable[str]:
    def record(kind: int, at: int, body: bytes) -> str:
        raw = bytes((len(body), at >> 8, at & 255, kind)) + body
        return ":" + (raw + bytes((-sum(raw) & 255,))).hex().upper()

    yield record(4, 0, (address >> 16).to_bytes(2, "big"))
    for offset in range(0, len(data), 16):
        yield record(0, address + offset & 0xFFFF, data[offset:offset + 16])
