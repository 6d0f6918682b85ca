"""Puts functions where they are called, so that a program for a small heap need not pay for each one's existence.

Readable firmware has many short functions and module-level state; MicroPython 1.9 takes some 80 bytes of heap for each
function and 8 to 16 for each global name, and three bytes of code where a local name takes one. Three steps, each of
which keeps the meaning: functions that are one expression, procedures that are called once, state that one function
alone uses. Where a step would not be safe it is not taken.
"""
from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Mapping

SIMPLE = (ast.Name, ast.Constant)


def inline(body: list[ast.stmt], main: str) -> list[ast.stmt]:
    """The program with functions put where they are called and the state of function `main` made local to it."""
    body = _expressions(body)
    while (found := _one_procedure(body, main)) is not None:
        body = found
    return _localize(body, main)


def local_names(function: ast.FunctionDef) -> set[str]:
    """Names that a function binds for itself."""
    stored = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return (stored | {a.arg for a in ast.walk(function) if isinstance(a, ast.arg)}) - global_names(function)


def global_names(function: ast.FunctionDef) -> set[str]:
    """Names that a function declares global."""
    return {name for n in ast.walk(function) if isinstance(n, ast.Global) for name in n.names}


def _all_names(node: ast.AST) -> Counter[str]:
    return Counter(n.id for n in ast.walk(node) if isinstance(n, ast.Name))


def outer_names(node: ast.AST) -> set[str]:
    """Names of the module that a statement uses or binds; those that are local to a function are not among them."""
    if isinstance(node, ast.FunctionDef):
        found = set(_all_names(node)) - local_names(node) | global_names(node)
        return found | {name for part in (*node.decorator_list, *node.args.defaults) for name in _all_names(part)}
    if isinstance(node, ast.ClassDef):
        return {name for member in node.body for name in outer_names(member)}
    return set(_all_names(node))


def _parameters(function: ast.FunctionDef) -> list[str] | None:
    """Its parameters; None where it has others than plain ones."""
    a = function.args
    if a.vararg or a.kwarg or a.kwonlyargs or a.defaults or a.posonlyargs or function.decorator_list:
        return None
    return [arg.arg for arg in a.args]


class _Put(ast.NodeTransformer):
    """Puts expressions in the place of names, and new names in the place of old ones."""

    def __init__(self, values: Mapping[str, ast.expr], names: Mapping[str, str]) -> None:
        self.values = values
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self.values:
            return copy.deepcopy(self.values[node.id])
        return ast.Name(self.names.get(node.id, node.id), node.ctx)


class _Expressions(ast.NodeTransformer):
    """Replaces calls of functions that are one expression.

    `methods`: by a name that only one class has. `state`: names that functions change, which stay where they are.
    """

    def __init__(
        self, functions: Mapping[str, ast.FunctionDef], methods: Mapping[str, ast.FunctionDef], state: set[str]
    ) -> None:
        self.functions = functions
        self.state = state
        self.methods = methods
        self.locals: set[str] = set()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.locals = local_names(node)
        self.generic_visit(node)
        self.locals = set()
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        args = list(node.args)
        if isinstance(node.func, ast.Name):
            function = self.functions.get(node.func.id)
        elif isinstance(node.func, ast.Attribute) and node.func.attr in self.methods:
            function = self.methods[node.func.attr]
            args.insert(0, node.func.value)
        else:
            function = None
        if function is None or node.keywords:
            return node
        return _put_expression(function, args, self.locals | self.state) or node


def _value(function: ast.FunctionDef) -> ast.expr | None:
    """The expression that the function is; None where it is more than that."""
    match function.body:
        case [ast.Return(value=ast.expr() as value)] | [ast.Expr(value=ast.Call() as value)]:
            return value
        case [ast.Pass()]:
            return ast.Constant(None)
    return None


def _put_expression(function: ast.FunctionDef, args: list[ast.expr], caller: set[str]) -> ast.expr | None:
    names, value = _parameters(function), _value(function)
    if names is None or value is None or len(names) != len(args):
        return None
    order = [n.id for n in ast.walk(value) if isinstance(n, ast.Name) and n.id in names]
    plain = all(isinstance(arg, SIMPLE) for arg in args)
    # A longer argument must be evaluated once and in its turn: one flat call of which it is an argument.
    if not plain and (sorted(order) != sorted(names) or order != names or _depth(value) > 2):
        return None
    free = set(_all_names(value)) - set(names)
    if free & caller or any(isinstance(n, ast.comprehension) for n in ast.walk(value)):
        return None
    put: ast.expr = _Put(dict(zip(names, args, strict=True)), {}).visit(copy.deepcopy(value))
    return put


def _depth(node: ast.AST) -> int:
    """How deep expressions are nested, attributes of names apart."""
    below = [_depth(child) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
    return (0 if isinstance(node, ast.Name | ast.Constant | ast.Attribute) else 1) + max(below, default=0)


def _expressions(body: list[ast.stmt]) -> list[ast.stmt]:
    functions = {n.name: n for n in body if isinstance(n, ast.FunctionDef) and _value(n) is not None}
    members = [m for n in body if isinstance(n, ast.ClassDef) for m in n.body if isinstance(m, ast.FunctionDef)]
    once = Counter(m.name for m in members)
    attributes = {n.attr for top in body for n in ast.walk(top) if isinstance(n, ast.Attribute)
                  and isinstance(n.ctx, ast.Store)}
    methods = {m.name: m for m in members if once[m.name] == 1 and _value(m) is not None and m.name not in attributes}
    state = {name for n in body if isinstance(n, ast.FunctionDef) for name in global_names(n)}
    work = _Expressions(functions, methods, state)
    return [work.visit(node) for node in body]


def _one_procedure(body: list[ast.stmt], main: str) -> list[ast.stmt] | None:
    """Puts one procedure, or method, in the place of its only call; None: there is none left that can be."""
    calls: Counter[str] = Counter()
    for node in (n for top in body for n in ast.walk(top)):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
            calls[node.id if isinstance(node, ast.Name) else node.attr] += 1
    functions = [n for n in body if isinstance(n, ast.FunctionDef)]
    classes = [n for n in body if isinstance(n, ast.ClassDef)]
    members = [m for n in classes for m in n.body if isinstance(m, ast.FunctionDef)]
    names = Counter(n.name for n in functions + members)
    callers = members + [n for n in functions if n.name == main]
    for callee in functions + members:
        if calls[callee.name] != 1 or names[callee.name] != 1 or not _is_procedure(callee):
            continue
        if any(_put_procedure(caller, callee, callee in members) for caller in callers if caller is not callee):
            for node in classes:
                node.body = [m for m in node.body if m is not callee] or [ast.Pass()]
            return [node for node in body if node is not callee]
    return None


def _is_procedure(function: ast.FunctionDef) -> bool:
    """Plain parameters, and a return at the end at most."""
    returns = [n for n in ast.walk(function) if isinstance(n, ast.Return)]
    return _parameters(function) is not None and (not returns or returns == [function.body[-1]])


def _put_procedure(caller: ast.FunctionDef, callee: ast.FunctionDef, method: bool) -> bool:
    for node in ast.walk(caller):
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            if not isinstance(block, list):
                continue
            for at, statement in enumerate(block):
                lines = _lines_for(statement, caller, callee, method)
                if lines is not None:
                    block[at:at + 1] = lines
                    return True
    return False


def _arguments(statement: ast.stmt, callee: ast.FunctionDef, method: bool) -> list[ast.expr] | None:
    """What a statement that is a plain call of `callee` gives for its parameters; None: it is none."""
    if not isinstance(statement, ast.Expr | ast.Assign) or not isinstance(call := statement.value, ast.Call):
        return None
    match call.func:
        case ast.Name(id=name) if not method and name == callee.name:
            args = list(call.args)
        case ast.Attribute(value=ast.Name() as owner, attr=name) if method and name == callee.name:
            args = [owner, *call.args]
        case _:
            return None
    if call.keywords or any(isinstance(arg, ast.Starred) for arg in args):
        return None
    return args if len(args) == len(callee.args.args) else None


def _lines_for(
    statement: ast.stmt, caller: ast.FunctionDef, callee: ast.FunctionDef, method: bool
) -> list[ast.stmt] | None:
    """What does the callee's work in the caller; None: this is no plain call of it, or names would clash."""
    args = _arguments(statement, callee, method)
    names = [arg.arg for arg in callee.args.args]
    if args is None:
        return None
    mine, theirs = local_names(caller), local_names(callee)
    outer = set(_all_names(callee)) - theirs
    if outer & mine:
        return None
    stored = {n.id for n in ast.walk(callee) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    taken = set(_all_names(caller)) | mine
    fresh = {name: f"{name}_{callee.name}" if name in taken else name for name in theirs}
    values = {n: a for n, a in zip(names, args, strict=True) if isinstance(a, SIMPLE) and n not in stored}
    # A name that the callee changes while it reads its argument under another must not be put in its place.
    values = {n: a for n, a in values.items() if not isinstance(a, ast.Name) or a.id not in global_names(callee)}
    lines: list[ast.stmt] = [
        ast.Assign([ast.Name(fresh[n], ast.Store())], a)
        for n, a in zip(names, args, strict=True) if n not in values
    ]
    lines = [ast.Global(sorted(global_names(callee)))] * bool(global_names(callee)) + lines
    for line in callee.body:
        if isinstance(line, ast.Global):
            continue
        line = _Put(values, fresh).visit(copy.deepcopy(line))
        if isinstance(line, ast.Return):
            value = line.value or ast.Constant(None)
            line = ast.Assign(statement.targets, value) if isinstance(statement, ast.Assign) else ast.Expr(value)
        lines.append(line)
    return lines


def _localize(body: list[ast.stmt], main: str) -> list[ast.stmt]:
    """State that only `main` uses becomes its own: module-level assignments move to its beginning, in their order."""
    function = next((n for n in body if isinstance(n, ast.FunctionDef) and n.name == main), None)
    if function is None:
        return body
    others = [n for n in body if n is not function]
    moved: list[ast.stmt] = []
    for node in reversed(others):
        if not isinstance(node, ast.Assign) or len(node.targets) != 1 or not isinstance(node.targets[0], ast.Name):
            continue
        name = node.targets[0].id
        rest = [n for n in body if n is not function and n is not node and n not in moved]
        if any(name in outer_names(n) for n in rest):
            continue
        moved.insert(0, node)
    mine = {n.id for node in moved for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    # What moves in keeps its names; variables of the function that happen to have one of them are renamed.
    clash = local_names(function) & {name for node in moved for name in _all_names(node)}
    function = _Put({}, {name: f"{name}_{main}" for name in clash}).visit(function)
    kept = sorted(global_names(function) - mine)
    function.body = [ast.Global(kept)] * bool(kept) + moved + _without_globals(function).body
    return [n for n in body if n not in moved]


class _NoGlobals(ast.NodeTransformer):
    def visit_Global(self, node: ast.Global) -> None:
        return None


def _without_globals(function: ast.FunctionDef) -> ast.FunctionDef:
    plain = _NoGlobals().visit(function)
    assert isinstance(plain, ast.FunctionDef)
    return plain
