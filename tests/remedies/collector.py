"""The remedies that the code can give, read from its syntax trees.

A remedy is the argument `remedy` of any function or class (`UserError`, `via.Problem`). A variable
is followed to all its assignments, a parameter to the calls of its function, a call to what the
function returns. Text that varies is written `{}`.
"""

import ast
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_LOGGERS = {"log", "logger", "logging", "warnings"}
_READ = {"join", "sub"}  # calls that are looked into
Texts = set[tuple[str, str]]  # a text and the place (file:line) that writes it


class Unreadable(Exception):
    """A remedy that is not made of string literals: the collector has to learn its form."""


@dataclass(frozen=True)
class Scope:
    """A function, or the top of a module."""

    file: str
    node: ast.FunctionDef | ast.Module

    def own(self, *kinds: type[ast.AST]) -> Iterator[Any]:
        """The nodes of these kinds, those of inner functions left out."""
        waiting = list(ast.iter_child_nodes(self.node))
        while waiting:
            node = waiting.pop()
            if isinstance(node, kinds):
                yield node
            if not isinstance(node, ast.FunctionDef):
                waiting += ast.iter_child_nodes(node)

    def fail(self, node: ast.expr) -> Unreadable:
        return Unreadable(f"{self.file}:{node.lineno}: {ast.unparse(node)}")


@dataclass(frozen=True)
class Parameter:
    """A parameter that takes a remedy; `index` counts the arguments after self."""

    callee: str
    name: str
    index: int | None
    file: str | None = None  # that defines the function; None for classes known to all


@dataclass(frozen=True)
class Assigned:
    """What a variable gets: the part `at` of a value, or of each element that a loop runs over."""

    value: ast.expr
    runs_over: bool
    at: tuple[int, ...]


def remedies(root: Path = ROOT) -> dict[str, list[str]]:
    """All remedies of project/ and scripts/, and the places (file:line) that write them.

    Raises:
        Unreadable: a remedy is made in a way that is not followed.
    """
    return _Collector(root).collect()


class _Collector:
    def __init__(self, root: Path) -> None:
        self.tops: dict[str, Scope] = {}
        for folder in ("project", "scripts"):
            for path in sorted((root / folder).rglob("*.py")):
                file = str(path.relative_to(root))
                self.tops[file] = Scope(file, ast.parse(path.read_text(encoding="utf-8")))
        self.functions: dict[str, list[Scope]] = {}
        self.calls: dict[str, list[tuple[ast.Call, Scope]]] = {}
        self.following: set[tuple[str, tuple[int, ...], Scope]] = set()
        for file, top in self.tops.items():
            inner = [Scope(file, n) for n in ast.walk(top.node) if isinstance(n, ast.FunctionDef)]
            for scope in inner:
                self.functions.setdefault(scope.node.name, []).append(scope)
            for scope in (top, *inner):
                for call in scope.own(ast.Call):
                    self.calls.setdefault(_name(call.func), []).append((call, scope))

    def collect(self) -> dict[str, list[str]]:
        """The result of `remedies`."""
        self.waiting = [*self._fields(), *self._named_remedy()]
        self.waiting += self._inherited({each.callee: each for each in self.waiting})
        done: set[Parameter] = set()
        found: Texts = set()
        while self.waiting:
            parameter = self.waiting.pop()
            if parameter not in done:
                done.add(parameter)
                for expression, at, scope in self._arguments(parameter):
                    found |= self._parts(expression, at, scope)
        result: dict[str, list[str]] = {}
        for text, place in sorted(found):
            result.setdefault(text, []).append(place)
        return result

    def _fields(self) -> Iterator[Parameter]:
        """The field `remedy` of dataclasses."""
        for top in self.tops.values():
            for node in top.own(ast.ClassDef):
                names = [
                    _name(each.target) for each in node.body if isinstance(each, ast.AnnAssign)
                ]
                if "remedy" in names:
                    yield Parameter(node.name, "remedy", names.index("remedy"))

    def _inherited(self, parameters: Mapping[str, Parameter]) -> Iterator[Parameter]:
        """The parameter `remedy` of classes that have it from another of the project."""
        for top in self.tops.values():
            for node in top.own(ast.ClassDef):
                for base in map(_name, node.bases):
                    if base in parameters and node.name not in parameters:
                        yield replace(parameters[base], callee=node.name)

    def _named_remedy(self) -> Iterator[Parameter]:
        """The parameter `remedy` of functions, and of classes that have one of their own."""
        for scope in itertools.chain.from_iterable(self.functions.values()):
            if parameter := _parameter(scope, "remedy", self.tops[scope.file]):
                yield parameter

    def _arguments(self, parameter: Parameter) -> Iterator[tuple[ast.expr, tuple[int, ...], Scope]]:
        """What the calls of a function give for a parameter: a part of an expression."""
        for call, scope in self.calls.get(parameter.callee, ()):
            if not self._calls(call, scope, parameter):
                continue
            named = {keyword.arg: keyword.value for keyword in call.keywords}
            if parameter.name in named:
                yield named[parameter.name], (), scope
            elif parameter.index is not None and call.args:
                expression, at = _element(call.args, (parameter.index,))
                if expression is not None:
                    yield expression, at, scope

    def _calls(self, call: ast.Call, scope: Scope, parameter: Parameter) -> bool:
        """Whether a call by a function's name calls that function; several may have the name."""
        if isinstance(call.func, ast.Attribute) and _name(call.func.value) in _LOGGERS:
            return False
        files = {each.file for each in self.functions.get(parameter.callee, ())}
        if parameter.file in (None, scope.file) or len(files) < 2:
            return True
        module = parameter.file.removeprefix("project/").removesuffix(".py").replace("/", ".")
        imported = {each.module for each in self.tops[scope.file].own(ast.ImportFrom)}
        return scope.file not in files and module in imported

    def _texts(self, node: ast.expr, scope: Scope) -> Texts:
        """What an expression can be."""
        place = f"{scope.file}:{getattr(node, 'lineno', 0)}"
        match node:
            case ast.Constant(value=None | "") | ast.Attribute(attr="remedy"):
                return set()  # none, or that of another error is found where that is raised
            case ast.Constant(value=str(text)):
                return {(text, place)}
            case ast.JoinedStr(values=parts):
                texts = (p.value if isinstance(p, ast.Constant) else "{}" for p in parts)
                return {("".join(texts), place)}
            case ast.BinOp(op=ast.Add(), left=left, right=right):
                pairs = itertools.product(self._texts(left, scope), self._texts(right, scope))
                return {(first + last, place) for (first, place), (last, _) in pairs}
            case ast.IfExp(body=body, orelse=orelse):
                return self._texts(body, scope) | self._texts(orelse, scope)
            case ast.BoolOp(values=values):
                return set().union(*(self._texts(value, scope) for value in values))
            case ast.Call(args=[ast.Attribute(attr="remedy"), *_]):
                return set()  # the same, with other names of keys
            case ast.Call(func=ast.Attribute(attr="join"), args=[joined]):
                return set().union(*(self._texts(*row) for row in self._rows(joined, scope)))
            case ast.Name() | ast.Call() | ast.Subscript():
                return self._parts(node, (), scope)
        raise scope.fail(node)

    def _parts(self, node: ast.expr, at: tuple[int, ...], scope: Scope) -> Texts:
        """What the part of an expression at some place of (nested) tuples can be."""
        match node:
            case ast.Constant(value=None):
                return set()
            case ast.Tuple(elts=elements) if at:
                return self._parts(*_element(elements, at), scope)
            case ast.IfExp(body=body, orelse=orelse):
                return self._parts(body, at, scope) | self._parts(orelse, at, scope)
            case ast.Name(id=name):
                return self._variable(name, at, scope)
            case ast.Call(func=function) if _name(function) in self.functions:
                return self._returned(_name(function), at, scope)
            case ast.Subscript(value=value, slice=ast.Constant(value=int(place))):
                return self._parts(value, (place, *at), scope)
            case ast.Subscript(value=table):
                rows = self._rows(table, scope)
                return set().union(*(self._parts(row, at, place) for row, place in rows))
            case _ if not at and (not isinstance(node, ast.Call) or _name(node.func) in _READ):
                return self._texts(node, scope)
        raise scope.fail(node)

    def _variable(self, name: str, at: tuple[int, ...], scope: Scope) -> Texts:
        if (name, at, scope) in self.following:
            return set()  # of itself, or an inner variable of the same name
        self.following.add((name, at, scope))
        found: Texts = set()
        if parameter := _parameter(scope, name, self.tops[scope.file]):
            self.waiting.append(parameter)
            assigned = [(each, scope) for each in _assignments(name, scope)]
            if default := _default(scope, name):
                assigned.append((Assigned(default, False, ()), scope))
        else:
            assigned = self._assigned(name, scope)
        for each, place in assigned:
            rows = self._rows(each.value, place) if each.runs_over else [(each.value, place)]
            for row, where in rows:
                found |= self._parts(row, each.at + at, where)
        self.following.remove((name, at, scope))
        return found

    def _assigned(self, name: str, scope: Scope) -> list[tuple[Assigned, Scope]]:
        """What is assigned to a variable in the function, in its module, or where it is from."""
        for place in (scope, self.tops[scope.file], *self.tops.values()):
            if found := _assignments(name, place):
                return [(each, place) for each in found]
        raise Unreadable(f"{scope.file}: {name}")

    def _rows(self, node: ast.expr, scope: Scope) -> list[tuple[ast.expr, Scope]]:
        """The elements of a list, a tuple or a dict; those of its items are (key, value)."""
        match node:
            case ast.List(elts=rows) | ast.Tuple(elts=rows) | ast.Dict(values=rows):
                return [(row, scope) for row in rows]
            case ast.ListComp(elt=row):
                return [(row, scope)]
            case ast.Call(func=ast.Attribute(attr="items", value=ast.Name(id=name))):
                return [
                    (ast.Tuple(list(pair)), place)
                    for assigned, place in self._assigned(name, scope)
                    for pair in zip(assigned.value.keys, assigned.value.values, strict=True)
                ]
            case ast.Name(id=name):
                rows = [
                    row
                    for assigned, place in self._assigned(name, scope)
                    for row in self._rows(assigned.value, place)
                ]
                appended = [
                    call.args[0]
                    for call in scope.own(ast.Call)
                    if _name(call.func) == "append" and _name(call.func.value) == name
                ]
                return rows + [(row, scope) for row in appended]
        raise scope.fail(node)

    def _returned(self, name: str, at: tuple[int, ...], scope: Scope) -> Texts:
        definitions = self.functions[name]
        here = [each for each in definitions if each.file == scope.file] or definitions
        kinds = (ast.Return, ast.Yield)
        values = [(node.value, place) for place in here for node in place.own(*kinds)]
        return set().union(
            *(
                self._parts(value, at, place)
                for value, place in values
                if not (value is None or (isinstance(value, ast.Constant) and value.value is None))
            )
        )


def _name(node: ast.AST) -> str:
    return getattr(node, "attr", None) or getattr(node, "id", "")


def _element(
    elements: Sequence[ast.expr], at: tuple[int, ...]
) -> tuple[ast.expr | None, tuple[int, ...]]:
    """An element of a tuple or of arguments, or the part of a starred one that it is."""
    for place, each in enumerate(elements):
        if isinstance(each, ast.Starred):
            return each.value, (at[0] - place, *at[1:])
        if place == at[0]:
            return each, at[1:]
    return None, ()


def _assignments(name: str, scope: Scope) -> list[Assigned]:
    found = []
    for node in scope.own(ast.Assign, ast.AnnAssign, ast.NamedExpr, ast.For, ast.comprehension):
        runs_over = isinstance(node, ast.For | ast.comprehension)
        value = node.iter if runs_over else node.value
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if value is not None:
            places = [at for target in targets for at in _places(name, target)]
            found += [Assigned(value, runs_over, at) for at in places]
    return found


def _places(name: str, target: ast.expr) -> Iterator[tuple[int, ...]]:
    """Where a variable stands in a target such as `count, (text, more)`."""
    if isinstance(target, ast.Tuple):
        for index, each in enumerate(target.elts):
            yield from ((index, *rest) for rest in _places(name, each))
    elif isinstance(target, ast.Name) and target.id == name:
        yield ()


def _parameter(scope: Scope, name: str, top: Scope) -> Parameter | None:
    """The parameter of a function that has this name."""
    function = scope.node
    if not isinstance(function, ast.FunctionDef):
        return None
    names = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
    callee = function.name
    if callee == "__init__":
        callee = next(each.name for each in top.own(ast.ClassDef) if function in each.body)
    if name in [each.arg for each in function.args.kwonlyargs]:
        return Parameter(callee, name, None, scope.file)
    if name in names:
        is_method = names[0] in ("self", "cls")
        return Parameter(callee, name, names.index(name) - is_method, scope.file)
    return None


def _default(scope: Scope, name: str) -> ast.expr | None:
    """The default value of a function's parameter."""
    arguments = scope.node.args
    places = [*arguments.posonlyargs, *arguments.args]
    pairs = [*zip(reversed(places), reversed(arguments.defaults), strict=False)]
    pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return next((default for each, default in pairs if each.arg == name), None)
