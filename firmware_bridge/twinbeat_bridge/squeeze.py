"""Makes MicroPython source small without changing what it does: for one file, or for a whole program in one namespace.

A board with 9 KB of heap compiles source into that heap: names, constants and functions that are not needed cost what
the promises need. `strip` works on one file. `link` joins modules into one namespace, folds constants, leaves out what
nothing reaches, gives names that the interpreter has in ROM already, and cuts the rest into pieces that are compiled
one by one.
"""
from __future__ import annotations

import ast
import io
import operator
import tokenize
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from twinbeat_core.errors import TwinbeatError

SMALL = range(-(1 << 30), 1 << 30)  # integers that need no heap
OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
    ast.LShift: operator.lshift, ast.RShift: operator.rshift, ast.BitAnd: operator.and_, ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
}
# Short words that MicroPython 1.9.2 for the micro:bit has in ROM: as names they need no heap.
ROM_NAMES = (
    "a b c d e f g n r s t x _ a2 a4 b3 b4 b5 bl bx c3 c4 c5 d3 d4 d5 e4 e5 f2 g4 g5 ls rx tx pi EVEN COW DUCK FUNK "
    "MEH NO NYAN ODD ODE SAD XMAS YES acos add addr and_ args asin asr atan blit bpm buf ceil clz cmp copy cos crop "
    "data down end exit exp fabs fill fmod freq gc help hex i2c it join key lsl lsr love math miso mode modf mosi mov "
    "movt movw mrs name next nop off os pack pin pin3 pin4 pin5 pin6 pin7 pin9 pins play pow push rbit say scan scl "
    "sclk sda sdiv seed send sep show sin sing size sort spi sqrt step stop strb strh sub tan text this up wfi"
).split()


class FirmwareError(TwinbeatError):
    """The firmware's source cannot be made into what a board runs; the message names file, line and remedy."""


def parse(name: str, source: str) -> ast.Module:
    """The syntax tree of one module. FirmwareError: not Python."""
    try:
        return ast.parse(source, name)
    except SyntaxError as error:
        raise FirmwareError(f"{name}, line {error.lineno}: not Python ({error.msg}): correct that line") from None
    except ValueError as error:
        raise FirmwareError(f"{name}: not Python ({error}): correct the file") from None


class _Bare(ast.NodeTransformer):
    """Takes off docstrings and annotations."""

    def _body(self, node: ast.Module | ast.FunctionDef | ast.ClassDef) -> None:
        self.generic_visit(node)
        node.body = [s for s in node.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
        if not node.body and not isinstance(node, ast.Module):
            node.body = [ast.Pass()]

    def visit_Module(self, node: ast.Module) -> ast.AST:
        self._body(node)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self._body(node)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        self._body(node)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        self.generic_visit(node)
        return ast.copy_location(ast.Assign([node.target], node.value), node) if node.value else None


def bare(name: str, source: str) -> ast.Module:
    """The tree of a module without comments, docstrings and annotations."""
    tree = parse(name, source)
    _Bare().visit(tree)
    return ast.fix_missing_locations(tree)


def text(nodes: Iterable[ast.stmt]) -> str:
    """Statements as source, indented by one space."""
    lines = ast.unparse(ast.fix_missing_locations(ast.Module(list(nodes), []))).split("\n")
    shallow = [" " * ((len(line) - len(line.lstrip())) // 4) + line.lstrip() for line in lines if line.strip()]
    return "".join(line + "\n" for line in shallow)


def strip(name: str, source: str) -> str:
    """The same module without comments, docstrings, annotations and wide indentation. FirmwareError: not Python."""
    return text(bare(name, source).body)


def constants(tree: ast.Module) -> dict[str, ast.expr]:
    """Upper-case names that the module binds once, to something without side effects."""
    bound = Counter(n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
    found: dict[str, ast.expr] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name.strip("_").isupper() and bound[name] == 1 and _plain(node.value):
                found[name] = node.value
    return found


def _plain(node: ast.expr) -> bool:
    allowed = (ast.Constant, ast.BinOp, ast.UnaryOp, ast.Name, ast.Tuple, ast.operator, ast.unaryop, ast.expr_context)
    return all(isinstance(part, allowed) for part in ast.walk(node))


class Folder(ast.NodeTransformer):
    """Puts constants where their names stand, computes them, and drops what then can never run."""

    def __init__(self, values: Mapping[str, ast.expr]) -> None:
        self.values = values

    def visit_Name(self, node: ast.Name) -> ast.AST:
        value = self.values.get(node.id)
        if value is None or not isinstance(node.ctx, ast.Load):
            return node
        return self.visit(parse("", ast.unparse(value)).body[0].value)  # type: ignore[attr-defined, no-any-return]

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        left, right, work = node.left, node.right, OPERATORS.get(type(node.op))
        if work and isinstance(left, ast.Constant) and isinstance(right, ast.Constant):
            if type(left.value) is int and type(right.value) is int:
                return ast.Constant(work(left.value, right.value))
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, ast.Not) and isinstance(node.operand, ast.Constant):
            return ast.Constant(not node.operand.value)
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        decides = isinstance(node.op, ast.Or)
        kept: list[ast.expr] = []
        for value in node.values:
            if not isinstance(value, ast.Constant) or value is node.values[-1]:
                kept.append(value)
            elif bool(value.value) is decides:
                kept.append(value)
                break
        return kept[0] if len(kept) == 1 else ast.BoolOp(node.op, kept)

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.test, ast.Constant):
            return node.body if node.test.value else node.orelse
        return node

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        if isinstance(node.test, ast.Constant):
            return (node.body if node.test.value else node.orelse) or [ast.Pass()]
        return node


def definitions(tree: ast.Module) -> set[str]:
    """Every name that this program itself makes up: functions, classes, methods, arguments, variables, attributes."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.id if isinstance(node, ast.Name) else node.attr)
    return {name for name in names if not name.startswith("__")}


class Renamer(ast.NodeTransformer):
    """Gives names other names, everywhere alike."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for field in ("id", "attr", "arg", "name"):
            old = getattr(node, field, None)
            if isinstance(old, str) and old in self.names:
                setattr(node, field, self.names[old])
        if isinstance(node, ast.Global | ast.Nonlocal):
            node.names = [self.names.get(name, name) for name in node.names]
        return super().generic_visit(node)


def used(nodes: Iterable[ast.AST]) -> Counter[str]:
    """How often each name or attribute occurs."""
    count: Counter[str] = Counter()
    for top in nodes:
        for node in ast.walk(top):
            for field in ("id", "attr", "arg"):
                value = getattr(node, field, None)
                if isinstance(value, str):
                    count[value] += 1
            if isinstance(node, ast.Global):
                count.update(node.names)
    return count


def tight(source: str) -> str:
    """The same source without blanks that no token needs."""
    lines: dict[int, str] = {}
    last: dict[int, tokenize.TokenInfo] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER):
            continue
        row = token.start[0]
        before = last.get(row)
        if before is None:
            lines[row] = " " * token.start[1]
        elif all(t.type in (tokenize.NAME, tokenize.NUMBER, tokenize.STRING) for t in (before, token)):
            lines[row] += " "
        lines[row] += token.string
        last[row] = token
    return _joined([line for _, line in sorted(lines.items())])


def _joined(lines: list[str]) -> str:
    """Simple statements of one block on one line: each line costs a byte of its function."""
    opening = ("if ", "if(", "elif", "else", "for ", "while", "try:", "except", "def ", "class ", "@", "with ", "final")
    out: list[str] = []
    assembler = False  # one instruction to a line
    for line in lines:
        word = line.lstrip()
        before = out[-1] if out else ""
        if word == line:
            assembler = before.endswith("asm_thumb")
        same = len(before) - len(before.lstrip()) == len(line) - len(word)
        if out and same and not assembler and not word.startswith(opening) and not before.lstrip().startswith(opening):
            out[-1] += ";" + word
        else:
            out.append(line)
    return "".join(line + "\n" for line in out)
