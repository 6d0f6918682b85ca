"""Cuts a joined program into modules again, in an order in which a small heap can compile them.

What is compiled first lies highest in MicroPython's heap and leaves the lower part in one piece for the syntax tree of
the next. So the long function comes first, and each module is read from a file, which needs no room for the source.
"""
from __future__ import annotations

import ast
from collections.abc import Mapping

from .inline import global_names, outer_names
from .squeeze import FirmwareError, text, tight

FIRST = "m0"
PART_BYTES = 300
LONG_BYTES = 1000
START = ".start"
GARBAGE_BYTES = 128
# 0x03 on the line interrupts only before the third line has run, and then resets. The tree of a script stays in the
# heap while it runs: this one is short.
SCRIPT = f"""\
try:
 import micropython
 micropython.kbd_intr(-1)
 import {FIRST}
 {FIRST}.load()
 {FIRST}.load=0
 {FIRST}.{{run}}()
except BaseException:
 pass
import machine
machine.reset()
"""


def names_of(node: ast.stmt) -> list[str]:
    """What a statement at module level binds."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    if isinstance(node, ast.Assign):
        return [n.id for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name)]
    return []


def modules_of(body: list[ast.stmt], owner: Mapping[str, str], run: str) -> dict[str, str]:
    """Source by file name: the function `run` in m0.py, which `load`s the others; main.py starts it.

    `owner`: the module that each name came from. FirmwareError: there is no such function, modules need each other, or
    one changes another's state.
    """
    groups: dict[str, list[ast.stmt]] = {}
    imports: list[ast.stmt] = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    main = next((n for n in body if isinstance(n, ast.FunctionDef) and n.name == run), None)
    if main is None:
        raise FirmwareError("no function run() that reads, decides, writes and never returns: add it to the program")
    for node in body:
        bound = names_of(node)
        if node not in imports and bound and owner[bound[0]] != owner[run]:
            groups.setdefault(owner[bound[0]], []).append(node)
    rest = [n for n in body if n not in imports and n is not main and not any(n in group for group in groups.values())]
    rest = [n for n in rest if text([n]).strip() != f"{run}()"]
    groups = _part(groups, main)
    _check_state([*groups.values(), [main, *rest]])
    order = _order(groups)
    files = {module: f"m{number}" for number, module in enumerate(order, 1)}
    made = {f"{FIRST}.py": tight(text([main])) + tight(_load([main, *rest], rest, groups, files, imports))}
    for module in order:
        head = _imports(groups[module], groups, files, imports)
        made[f"{files[module]}.py"] = tight(head + text(groups[module]))
    return made | {"main.py": SCRIPT.format(run=run)}


def _bound(nodes: list[ast.stmt]) -> set[str]:
    return {name for node in nodes for name in names_of(node)}


def _needed(nodes: list[ast.stmt]) -> set[str]:
    return {name for node in nodes for name in outer_names(node)}


def _part(groups: Mapping[str, list[ast.stmt]], main: ast.stmt) -> dict[str, list[ast.stmt]]:
    """Smaller groups: classes and state of a module; its functions, in groups of at most PART_BYTES where they can be.

    Functions that the start alone needs are apart from the others: they are forgotten afterwards.
    """
    alive = _needed([main])
    statements = [node for nodes in groups.values() for node in nodes]
    while more := _needed([n for n in statements if alive.intersection(names_of(n))]) - alive:
        alive |= more
    parts: dict[str, list[ast.stmt]] = {}
    for module, nodes in groups.items():
        moving = [n for n in nodes if isinstance(n, ast.FunctionDef) and not global_names(n)]
        parts[module] = [n for n in nodes if n not in moving]
        for node in sorted(moving, key=lambda n: -len(text([n]))):
            kind = "" if node.name in alive else START
            names = [n for n in parts if n.startswith(f"{module}.") and n.endswith(START) == (kind == START)]
            room = [n for n in names if len(text([*parts[n], node])) <= PART_BYTES]
            parts.setdefault(room[0] if room else f"{module}.{len(parts)}{kind}", []).append(node)
    return {name: nodes for name, nodes in parts.items() if nodes}


def _order(groups: Mapping[str, list[ast.stmt]]) -> list[str]:
    """Modules after those that they need: long ones, what the start needs, which then is forgotten, the rest."""
    needs = {m: {o for o in groups if o != m and _needed(groups[m]) & _bound(groups[o])} for m in groups}
    early = {m for m in groups if m.endswith(START)}
    while more := {o for m in early for o in needs[m]} - early:
        early |= more
    size = {m: len(text(nodes)) for m, nodes in groups.items()}
    left = sorted(groups, key=lambda m: (size[m] < LONG_BYTES, m not in early, -size[m]))
    order: list[str] = []
    while left:
        ready = next((m for m in left if needs[m] <= set(order)), None)
        if ready is None:
            raise FirmwareError(f"the modules {', '.join(left)} need each other: part them otherwise")
        order.append(ready)
        left.remove(ready)
    return order


def _check_state(groups: list[list[ast.stmt]]) -> None:
    """A name that a function changes lives in one module only: others would hold a copy."""
    for group in groups:
        functions = [n for n in group if isinstance(n, ast.FunctionDef)]
        changed = {name for function in functions for name in global_names(function)}
        for other in groups:
            shared = changed & _needed(other) if other is not group else set()
            if shared:
                names = ", ".join(sorted(shared))
                raise FirmwareError(f"{names}: changed in one module and used in another: keep it in one")


def _imports(
    nodes: list[ast.stmt], groups: Mapping[str, list[ast.stmt]], files: Mapping[str, str], imports: list[ast.stmt]
) -> str:
    """The import statements that these statements need."""
    needed = _needed(nodes) - _bound(nodes)
    lines: list[str] = []
    for node in imports:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        kept = [alias for alias in node.names if (alias.asname or alias.name) in needed]
        if kept:
            part = ast.Import(kept) if isinstance(node, ast.Import) else ast.ImportFrom(node.module, kept, 0)
            lines.append(text([part]))
    for module, file in files.items():
        names = sorted(needed & _bound(groups[module]))
        if names:
            lines.append(f"from {file} import {','.join(names)}\n")
    return "".join(dict.fromkeys(lines))


def _load(
    nodes: list[ast.stmt], rest: list[ast.stmt], groups: Mapping[str, list[ast.stmt]], files: Mapping[str, str],
    imports: list[ast.stmt],
) -> str:
    """A function that imports what `run` needs, does the start's work, and forgets what only that needed."""
    head = {line: names_of(node) for line in _imports(nodes, groups, files, imports).splitlines()
            for node in ast.parse(line).body}
    made = _bound(rest) | {name for names in head.values() for name in names}
    later = _needed([node for node in nodes if node not in rest])
    # All names at once: a table that grows later would lie amid the room that the next syntax tree needs.
    lines = ["import gc", f"gc.threshold({GARBAGE_BYTES})", "=".join([*sorted(made), "0"])]
    waiting = list(rest)
    known: set[str] = set()
    for module, file in files.items():
        lines += ["gc.collect()", f"import {file}"]
        known |= _bound(groups[module])
        if waiting and _needed(waiting) - _bound(waiting) <= known:
            needed = _needed(waiting) - _bound(waiting)
            lines += [line for line, names in head.items() if needed.intersection(names)]
            lines += text(waiting).splitlines()
            lines += _forget(groups, files) + [f"{name}=0" for name in sorted(needed - later)]
            waiting = []
    lines += [line for line, names in head.items() if later.intersection(names)] + ["gc.threshold(-1)"]
    return f"def load():\n global {','.join(sorted(made))}\n" + "".join(f" {line}\n" for line in lines)


def _forget(groups: Mapping[str, list[ast.stmt]], files: Mapping[str, str]) -> list[str]:
    """Assignments after which nobody knows the functions that the start alone needed."""
    start = {module: nodes for module, nodes in groups.items() if module.endswith(START)}
    gone = {name for nodes in start.values() for name in _bound(nodes)}
    return [
        f"{files[module]}.{name}=0"
        for module, nodes in start.items() for name in sorted(gone & (_bound(nodes) | _needed(nodes)))
    ]
