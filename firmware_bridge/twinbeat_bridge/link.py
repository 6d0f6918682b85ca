"""Joins the firmware's modules into one program for a board whose heap cannot hold them as they are."""
from __future__ import annotations

import ast
import builtins
from collections.abc import Mapping, Sequence

from .inline import inline, outer_names
from .part import modules_of, names_of
from .squeeze import ROM_NAMES, SMALL, FirmwareError, Folder, Renamer, bare, constants, definitions, used

# Attributes of what is not ours: methods of built-in types, and what the board's own modules offer.
FOREIGN = {name for kind in (bytes, bytearray, list, dict, str, int) for name in dir(kind)} | set(dir(builtins)) | set(
    "any asm_thumb collect crc init kbd_intr machine mem8 mem16 mem32 mem_free micropython microbit pack pin0 pin1 "
    "pin2 pin8 pin13 pin14 read read_digital reset running_time set_pull sleep struct uart unique_id unpack write "
    "write_digital display off ustruct label data PULL_UP PULL_DOWN utime ticks_us print gc".split()
)
BOARD = "board"  # the module that knows the pins; other modules hold it under this name
MAIN = "run"  # what never returns; the rest of its module is its state


def link(modules: Sequence[tuple[str, str]], values: Mapping[str, int | bool]) -> dict[str, str]:
    """The modules as small ones by file name, and `main.py`, which never returns.

    `modules`: (file name, source). The last has a function `run` that never returns; "board.py" is the one before it,
    and what it defines replaces what others define under the same name. `values`: constants that get these values.
    FirmwareError: not Python, or two modules define the same name.
    """
    trees = {name.removesuffix(".py"): bare(name, source) for name, source in modules}
    body, owner = _join(trees)
    known: dict[str, ast.expr] = {}
    for tree in trees.values():
        known.update(constants(tree))
    known.update({name: ast.Constant(value) for name, value in values.items()})
    body = _fold(body, known)
    body = _reach(inline(_reach(body), MAIN))
    names = _rename(body)
    return modules_of(body, {names.get(name, name): module for name, module in owner.items()}, names.get(MAIN, MAIN))


class _Flat(ast.NodeTransformer):
    """`module.name` becomes `name` where the module is one of ours; so does `board.name`, whoever holds the board."""

    def __init__(self, imported: Mapping[str, set[str]], board: set[str]) -> None:
        self.imported = imported
        self.board = board

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        base = node.value
        if isinstance(base, ast.Name) and node.attr in self.imported.get(base.id, ()):
            return ast.Name(node.attr, node.ctx)
        if node.attr in self.board and BOARD in (getattr(base, "id", None), getattr(base, "attr", None)):
            return ast.Name(node.attr, node.ctx)
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        self.generic_visit(node)
        return None if isinstance(node.value, ast.Name | ast.Attribute) and _tail(node.value) == BOARD else node


def _tail(node: ast.Name | ast.Attribute) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr


def _join(trees: Mapping[str, ast.Module]) -> tuple[list[ast.stmt], dict[str, str]]:
    """All statements in one list, without the imports between our own modules; whose each name is."""
    defined = {module: {name for node in tree.body for name in names_of(node)} for module, tree in trees.items()}
    joined: list[ast.stmt] = []
    owner: dict[str, str] = {}
    for module, tree in trees.items():
        statements = _plain_imports(tree.body)
        imported = {
            alias.name: defined[alias.name]
            for node in ast.walk(tree) if isinstance(node, ast.Import)
            for alias in node.names if alias.name in trees
        }
        for node in statements:
            if _is_ours(node, trees):
                continue
            node = _Flat(imported, defined[BOARD]).visit(node)
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Assign):
                for name in names_of(node):
                    if name in owner and module != BOARD:
                        raise FirmwareError(
                            f"{module}.py, line {node.lineno}: {name} is also defined in {owner[name]}.py, and both go "
                            "into one namespace on this board: rename one of them")
                    joined = [old for old in joined if name not in names_of(old)]
                    owner[name] = module
            joined.append(node)
    return joined, owner


def _is_ours(node: ast.stmt, trees: Mapping[str, ast.Module]) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module in trees
    return isinstance(node, ast.Import) and all(alias.name in trees for alias in node.names)


def _plain_imports(statements: Sequence[ast.stmt]) -> list[ast.stmt]:
    """`try: import a` / `except ImportError: ...` becomes `import a`: the board's own interpreter is known."""
    plain: list[ast.stmt] = []
    for node in statements:
        if isinstance(node, ast.Try) and all(isinstance(s, ast.Import | ast.ImportFrom) for s in node.body):
            plain += node.body
        else:
            plain.append(node)
    return plain


def _fold(body: list[ast.stmt], known: Mapping[str, ast.expr]) -> list[ast.stmt]:
    """Constants in place. Long ones that are used more than once stay names, or each use would hold a copy."""
    uses = used(body)
    values = {
        name: value for name, value in known.items()
        if uses[name] <= 2 or (isinstance(folded := Folder(known).visit(value), ast.Constant)
                               and isinstance(folded.value, int) and folded.value in SMALL)
    }
    folder = Folder(values)
    return [node for old in body if (node := folder.visit(old)) is not None]


def _reach(body: list[ast.stmt]) -> list[ast.stmt]:
    """What the statements that run by themselves need; the rest is left out, methods and imports too."""
    passive = (ast.FunctionDef, ast.ClassDef, ast.Assign, ast.Import, ast.ImportFrom)
    runs = [n for n in body if not isinstance(n, passive) or _calls(n)]
    wanted = {name for node in runs for name in outer_names(node) | set(names_of(node))}
    methods = {n.attr for node in runs for n in ast.walk(node) if isinstance(n, ast.Attribute)}
    size = -1
    while size != len(wanted) + len(methods):
        size = len(wanted) + len(methods)
        for node in body:
            if wanted.intersection(names_of(node)):
                if isinstance(node, ast.ClassDef):
                    node = ast.ClassDef("", [], [], [m for m in node.body if _is_wanted(m, methods)], [])
                wanted |= outer_names(node)
                methods |= {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
    kept = [n for n in body if n in runs or wanted.intersection(names_of(n))]
    for node in kept:
        if isinstance(node, ast.ClassDef):
            node.body = [m for m in node.body if _is_wanted(m, methods)]
        if isinstance(node, ast.Import | ast.ImportFrom):
            node.names = [alias for alias in node.names if (alias.asname or alias.name) in wanted]
    return kept


def _calls(node: ast.stmt) -> bool:
    """An assignment that does something: it stays even where nobody reads the name."""
    return isinstance(node, ast.Assign) and any(isinstance(n, ast.Call) for n in ast.walk(node))


def _is_wanted(member: ast.stmt, methods: set[str]) -> bool:
    return not isinstance(member, ast.FunctionDef) or member.name.startswith("__") or member.name in methods


def _is_assembler(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and any("asm_thumb" in ast.dump(d) for d in node.decorator_list)


def _rename(body: list[ast.stmt]) -> dict[str, str]:
    """Our own names become words from ROM, the most used first; assembler keeps its registers and labels."""
    ours = [node for node in body if not _is_assembler(node)]
    count = used(ours)
    made = definitions(ast.Module(ours, [])) - FOREIGN
    kept = (set(count) - made) | {name for node in body for name in names_of(node)} - made
    free = [name for name in dict.fromkeys(ROM_NAMES) if name not in kept]
    order = sorted(made, key=lambda name: (-count[name], name))
    names = dict(zip(order, free, strict=False))
    for node in ours:
        Renamer(names).visit(node)
    return names
