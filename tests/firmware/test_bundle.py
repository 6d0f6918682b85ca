"""What is put on a board: the same meaning in fewer bytes, and a build number that names exactly those sources."""
from __future__ import annotations

import gc
import importlib
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import lease_vectors
import pytest
from microbit_bus import CALLS, RUNNER

from twinbeat_bridge import bundle as bundles
from twinbeat_bridge.bundle import SOURCE, Bundle, bundle, microbit_files, microbit_flash, microbit_hex, read_sources
from twinbeat_bridge.link import link
from twinbeat_bridge.squeeze import FirmwareError, strip, tight

VECTORS = json.loads((Path(__file__).parent / "lease_vectors.json").read_text(encoding="utf-8"))
END = ":00000001FF"


def module_of(source: str) -> ModuleType:
    module = ModuleType("made")
    exec(compile(source, "made", "exec"), module.__dict__)
    return module


@pytest.mark.parametrize("small", [strip, lambda name, source: tight(strip(name, source))])
def test_a_stripped_module_means_the_same(small: Callable[[str, str], str]) -> None:
    source = (SOURCE / "lease.py").read_text(encoding="utf-8")
    made = small("lease.py", source)
    assert len(made) < 0.65 * len(source)
    assert '"""' not in made
    assert "#" not in made
    lease = module_of(made)
    assert [wrong for vector in VECTORS for wrong in lease_vectors.run(lease, vector)] == []


def test_annotations_go_and_values_stay() -> None:
    made = strip("a.py", 'x: int = 1\ny: int\ndef f(a: int, b: str = "#") -> str:\n    """Doc."""\n    return b * a\n')
    assert made == "x = 1\ndef f(a, b='#'):\n return b * a\n"


@pytest.mark.parametrize(
    "source", ["a = 1 if b else 2\n", "def f(a):\n for x in a:\n  y = -x\n  z = 'a b' % y\n return 1\n"]
)
def test_tight_source_has_the_same_tokens(source: str) -> None:
    assert compile(tight(source), "", "exec").co_code == compile(source, "", "exec").co_code


class Stop(Exception):
    """The pretended line has no more to say."""


def start_of(files: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """The linked program in this interpreter, all loaded."""
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(gc, "threshold", lambda _: None, raising=False)
    for name in files:
        monkeypatch.delitem(sys.modules, name.removesuffix(".py"), raising=False)
    first = importlib.import_module("m0")
    first.load()
    for name in files:
        sys.modules.pop(name.removesuffix(".py"), None)
    name = re.findall(r"m0\.(\w+)\(\)", files["main.py"])[-1]
    run: Callable[[], None] = getattr(first, name)
    return run


def test_the_linked_lease_means_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines: list[bytes] = []
    expected = []
    for vector in VECTORS:
        lines.append(" ".join(map(str, [0, *vector["leases"]])).encode() + b"\n")
        expected.append(None)
        for name, *rest in vector["steps"]:
            words = rest[1:] if name == "set" else rest if name == "only" else rest[:-1]
            lines.append(" ".join(map(str, [CALLS.index(name), *words])).encode() + b"\n")
            expected.append(None if name in ("set", "only") else rest[-1])

    def read(_: int) -> bytes:
        if not lines:
            raise Stop
        return lines.pop(0)

    monkeypatch.setitem(sys.modules, "microbit", SimpleNamespace(uart=SimpleNamespace(read=read)))  # type: ignore[arg-type]
    source = (SOURCE / "lease.py").read_text(encoding="utf-8")
    run = start_of(link([("lease.py", source), ("board.py", ""), ("main.py", RUNNER)], {}), tmp_path, monkeypatch)
    with pytest.raises(Stop):
        run()
    found = [lease_vectors.plain(eval(line[2:])) for line in capsys.readouterr().out.splitlines()]
    assert found == expected


PROGRAMS = {
    "names that clash": (
        "def twice(a):\n    b = a + a\n    return b\n",
        "from board import twice\ndef run():\n    a = 5\n    b = 7\n    c = twice(b)\n    show(a, b, c)\n    done()\n",
        [(5, 7, 14)],
    ),
    "state that a procedure changes": (
        "LIMIT = 2 * 3\n_count = 0\ndef more():\n    global _count\n    _count += 1\n    return _count + LIMIT\n",
        "from board import more\ntotal = 0\ndef add(n):\n    global total\n    total += n\n"
        "def run():\n    for n in range(3):\n        add(n)\n        show(total, more())\n    done()\n",
        [(0, 7), (1, 8), (3, 9)],
    ),
    "the value of `or`": (
        "def last(a):\n    return a or b''\n",
        "from board import last\ndef run():\n    show(last(0), last(3))\n    done()\n",
        [(b"", 3)],
    ),
    "an argument with an effect is evaluated once": (
        "def pair(a):\n    return a, a\n",
        "from board import pair\ndef run():\n    left = [1, 2]\n    show(pair(left.pop()), left)\n    done()\n",
        [((2, 2), [1])],
    ),
    "a branch that cannot run": (
        "FAST = False\ndef read():\n    if FAST:\n        return never()\n    return 4 if not FAST and True else 5\n",
        "from board import read\ndef run():\n    show(read())\n    done()\n",
        [(4,)],
    ),
    "a method that is used once": (
        "class Box:\n    def __init__(self):\n        self.n = 1\n    def put(self, n):\n        self.n = self.n + n\n",
        "from board import Box\ndef run():\n    n = 10\n    b = Box()\n    b.put(n)\n    show(b.n, n)\n    done()\n",
        [(11, 10)],
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_linking_keeps_the_meaning(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board, main, expected = PROGRAMS[name]
    shown: list[Any] = []

    def done() -> None:
        raise Stop

    host = SimpleNamespace(show=lambda *values: shown.append(values), done=done)
    monkeypatch.setitem(sys.modules, "host", host)  # type: ignore[arg-type]
    files = link([("board.py", board), ("main.py", "from host import show, done\n" + main + "\nrun()\n")], {})
    with pytest.raises(Stop):
        start_of(files, tmp_path, monkeypatch)()
    assert shown == expected


def test_boards_get_their_modules() -> None:
    for board in ("rp2", "unix"):
        made = bundle(board, 7)
        assert {"lease.py", "frames.py", "arbiter.py", "board.py", "main.py", "pair.py"} <= set(made.files)
        for name, data in made.files.items():
            compile(data, name, "exec")
        settings = module_of(made.files["pair.py"].decode())
        assert (settings.PAIR, settings.BUILD) == (7, made.build)
    assert made.version == tuple(map(int, made.version))


def test_the_microbit_image_fits_and_is_the_same_for_every_pair() -> None:
    one, other = bundle("microbit", 1), bundle("microbit", 65535)
    assert {name for name in one.files if one.files[name] != other.files[name]} == {"identity"}
    (address, image), (words_at, words) = microbit_flash(one.files)
    assert address + len(image) <= words_at == 0x3EFF8
    assert words == b"\1\0\0\0" + one.build.to_bytes(4, "little")
    assert image[0x3E000 - address : 0x3E001 - address] != b"M"  # it would be taken for a script
    assert len(image) % 128 == 0


def read_files(image: bytes) -> dict[str, bytes]:
    """The files in an image, read as the interpreter does."""
    files = {}
    for at in range(0, len(image), 128):
        if image[at] == 254:
            end, size = image[at + 1 : at + 3]
            data, chunk = b"", image[at : at + 128]
            while chunk[127] != 255:
                data += chunk[1:127]
                chunk = image[(chunk[127] - 1) * 128 : chunk[127] * 128]
            data += chunk[1 : 1 + end]
            files[data[2 : 2 + size].decode()] = data[2 + size :]
    return files


def test_the_file_system_holds_the_files() -> None:
    made = bundle("microbit", 7)
    assert read_files(microbit_flash(made.files)[0][1]) == {n: d for n, d in made.files.items() if n != "identity"}
    for size in (0, 1, 120, 121, 122, 123, 247, 248, 249):
        files = {"a.py": bytes(range(1, 250))[:size], "b": b"x"}
        assert read_files(microbit_flash(files)[0][1]) == files


def edited(folder: Path, name: str) -> Path:
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / name).write_text((folder / name).read_text(encoding="utf-8") + "# edited\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", ["lease.py", "frames.py", "boards/microbit.py", "boards/microbit_arbiter.py"])
def test_any_change_of_a_source_changes_the_build(name: str, tmp_path: Path) -> None:
    before, after = bundle("microbit", 7), bundle("microbit", 7, source=edited(tmp_path / "a", name))
    assert before.build != after.build
    assert {n: d for n, d in before.files.items() if n != "identity"} == {
        n: d for n, d in after.files.items() if n != "identity"
    }


def test_another_boards_source_does_not(tmp_path: Path) -> None:
    source = edited(tmp_path / "a", "boards/microbit.py")
    assert bundle("rp2", 7, source=source).build == bundle("rp2", 7).build
    assert bundle("rp2", 7).build != bundle("unix", 7).build


@pytest.mark.parametrize(("board", "pair", "words"), [
    ("pico", 7, ["'pico'", "rp2, microbit, unix"]),
    ("rp2", 0, ["pair id 0", "1 to 65535"]),
    ("microbit", 65536, ["pair id 65536"]),
])  # fmt: skip
def test_no_such_board_or_pair(board: str, pair: int, words: list[str]) -> None:
    with pytest.raises(FirmwareError) as error:
        bundle(board, pair)
    assert all(word in str(error.value) for word in words)


def test_a_source_that_is_missing_or_wrong(tmp_path: Path) -> None:
    source = edited(tmp_path / "a", "lease.py")
    (source / "lease.py").write_text("def f(:\n", encoding="utf-8")
    with pytest.raises(FirmwareError, match=r"lease\.py, line 1: not Python"):
        bundle("microbit", 7, source=source)
    (source / "lease.py").write_bytes(b"\xff")
    with pytest.raises(FirmwareError, match="cannot be read"):
        bundle("rp2", 7, source=source)
    (source / "lease.py").unlink()
    with pytest.raises(FirmwareError, match=r"lease\.py: no such file"):
        bundle("rp2", 7, source=source)


@pytest.mark.parametrize(("board", "main", "words"), [
    ("", "def go():\n    pass\n", "no function run"),
    ("A = 1\n", "A = 2\ndef run():\n    show(A)\nrun()\n", "A is also defined in board.py"),
    ("n = 0\ndef add():\n    global n\n    n += 1\n    return n\n",
     "from board import add, n\ndef run():\n    show(add(), n)\n    show(add())\nrun()\n", "changed in one module"),
])  # fmt: skip
def test_what_cannot_be_linked(board: str, main: str, words: str) -> None:
    with pytest.raises(FirmwareError, match=words):
        link([("board.py", board), ("main.py", main)], {})


def test_a_program_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "FILES_END", bundles.FILES_AT + 4096)
    with pytest.raises(FirmwareError, match="bytes too long for its flash: shorten it"):
        microbit_files(read_sources("microbit"), {})


def hex_bytes(text: str) -> dict[int, int]:
    base, found = 0, {}
    for line in text.split():
        record = bytes.fromhex(line[1:])
        assert sum(record) % 256 == 0
        if record[3] == 4:
            base = int.from_bytes(record[4:6], "big") << 16
        for offset, byte in enumerate(record[4:-1] if record[3] == 0 else b""):
            found[base + int.from_bytes(record[1:3], "big") + offset] = byte
    return found


def test_one_file_for_the_drive() -> None:
    made = bundle("microbit", 7)
    interpreter = ":020000040000FA\n:0400000001020304F2\n" + END + "\n"
    found = hex_bytes(microbit_hex(made, interpreter))
    expected = {0: 1, 1: 2, 2: 3, 3: 4}
    for address, data in microbit_flash(made.files):
        expected |= {address + at: byte for at, byte in enumerate(data)}
    assert found == expected


@pytest.mark.parametrize(("interpreter", "words"), [
    ("", "no end record"),
    ("UEsDBBQ\n" + END, "line 1 of the interpreter's file is no Intel hex record"),
    (":0400000001020304F3\n" + END, "line 1"),
    (":020000040003F7\n:02E000004D50" + "81\n" + END, "already holds something from 0x3bc00 on"),
])  # fmt: skip
def test_an_interpreter_that_is_none(interpreter: str, words: str) -> None:
    with pytest.raises(FirmwareError, match=words):
        microbit_hex(Bundle({"main.py": b""}, 1, (1, 0, 0)), interpreter)
