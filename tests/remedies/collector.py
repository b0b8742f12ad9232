"""The remedies that the code can give, read from its syntax trees.

A remedy is a text in the argument `remedy` of a function or a class (`UserError`, `via.Problem`),
or in a variable or a default of such a name. A constant stands for its text, and the call of a
function for the texts that it returns. Text that varies is written `{}`.
"""

import ast
import itertools
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
_LOGGERS = {"log", "logger", "logging", "warnings"}


class Unreadable(Exception):
    """A remedy that is none of these."""


def remedies(root: Path = ROOT) -> dict[str, list[str]]:
    """All remedies of project/ and scripts/, and the places (file:line) that write them.

    Raises:
        Unreadable: a remedy is written in another way.
    """
    nodes = [
        (str(path.relative_to(root)), node)
        for folder in ("project", "scripts")
        for path in sorted((root / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    ]
    reader = _Reader([node for _, node in nodes])
    places: dict[str, list[str]] = {}
    for file, node in nodes:
        for value in reader.values(node):
            try:
                for text in sorted(reader.texts(value)):
                    places.setdefault(text, []).append(f"{file}:{value.lineno}")
            except Unreadable as error:
                raise Unreadable(f"{file}:{value.lineno}: {error}") from None
    return places


class _Reader:
    def __init__(self, nodes: list[ast.AST]) -> None:
        self.functions: dict[str, list[ast.FunctionDef]] = {}
        self.constants: dict[str, ast.expr] = {}
        self.indexes: dict[str, set[int]] = {}  # of the argument `remedy` of what has the name
        for node in nodes:
            if isinstance(node, ast.FunctionDef) and node.name != "__init__":
                self.functions.setdefault(node.name, []).append(node)
                names = [argument.arg for argument in node.args.args]
                self._add(node.name, names[names[:1] in (["self"], ["cls"]) :])
            elif isinstance(node, ast.Assign) and _name(node.targets[0]).isupper():
                self.constants[_name(node.targets[0])] = node.value
            elif isinstance(node, ast.ClassDef):
                self._add_class(node)

    def _add(self, callee: str, names: list[str]) -> None:
        if "remedy" in names:
            self.indexes.setdefault(callee, set()).add(names.index("remedy"))

    def _add_class(self, node: ast.ClassDef) -> None:
        self._add(node.name, [_name(s.target) for s in node.body if isinstance(s, ast.AnnAssign)])
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
                self._add(node.name, [argument.arg for argument in statement.args.args[1:]])
        for base in node.bases:
            self.indexes.setdefault(node.name, set()).update(self.indexes.get(_name(base), ()))

    def values(self, node: ast.AST) -> Iterator[ast.expr]:
        """The expressions of a remedy in a call, an assignment or the head of a function."""
        match node:
            case ast.Call(func=ast.Attribute(value=owner)) if _name(owner) in _LOGGERS:
                return
            case ast.Call(func=function, args=arguments, keywords=keywords):
                yield from (keyword.value for keyword in keywords if keyword.arg == "remedy")
                for index in self.indexes.get(_name(function), ()):
                    if not any(isinstance(value, ast.Starred) for value in arguments[: index + 1]):
                        yield from arguments[index : index + 1]
                if _name(function) == "append" and "remed" in _name(function.value):
                    yield from arguments
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                pairs = zip(targets, values, strict=True)
                yield from (value for target, value in pairs if "remed" in _name(target).lower())
            case ast.Assign(targets=[target], value=value) | ast.NamedExpr(target, value):
                if "remed" in _name(target).lower():
                    yield value
            case ast.arguments(args=names, defaults=defaults):
                pairs = zip(reversed(names), reversed(defaults), strict=False)
                yield from (value for name, value in pairs if name.arg == "remedy")

    def texts(self, node: ast.expr) -> set[str]:
        """What an expression can be."""
        match node:
            case ast.Constant(value=None | "") | ast.Attribute(attr="remedy"):
                return set()  # none, or that of another error is read where that is raised
            case ast.Constant(value=str(text)):
                return {text}
            case ast.JoinedStr(values=parts):
                texts = (part.value if isinstance(part, ast.Constant) else "{}" for part in parts)
                return {"".join(texts)}
            case ast.BinOp(op=ast.Add(), left=left, right=right):
                pairs = itertools.product(self.texts(left), self.texts(right))
                return {first + last for first, last in pairs}
            case ast.IfExp(body=body, orelse=orelse):
                return self.texts(body) | self.texts(orelse)
            case ast.BoolOp(values=values) | ast.List(elts=values):
                return set().union(*map(self.texts, values))
            case ast.Name(id=name) if name in self.constants:
                return self.texts(self.constants[name])
            case ast.Name(id=name) if "remed" in name:
                return set()  # read where it is assigned
            case ast.Call(func=ast.Attribute(attr="join"), args=[ast.Name() as values]):
                return self.texts(values)
            case ast.Call(args=[ast.Attribute(attr="remedy"), *_]):
                return set()  # the same, with other names of keys
            case ast.Call(func=function) if _name(function) in self.functions:
                inner = itertools.chain(*map(ast.walk, self.functions[_name(function)]))
                returned = [node.value for node in inner if isinstance(node, ast.Return)]
                return set().union(*map(self.texts, filter(None, returned)))
        raise Unreadable(ast.unparse(node))


def _name(node: ast.AST) -> str:
    return getattr(node, "attr", None) or getattr(node, "id", "")
