"""Digests of library code, so that a changed stage reruns and a changed comment does not."""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.util import resolve_name
from pathlib import Path

_SOURCE = Path(__file__).parent.parent


def code_digest(*modules: str) -> str:
    """SHA-256 of what `modules` and every caloforge module they import, directly or not, do.

    Nothing is imported: the syntax trees are hashed, so that comments, docstrings and formatting do not
    count. Files of other kinds beside a package, such as templates, count byte by byte. The modules of
    `caloforge.config` do not count: what they do to a stage is in the values of its settings.

    Parameters
    ----------
    modules
        Full names, `caloforge.training`; a module imported under a computed name must be given too.

    Raises
    ------
    ModuleNotFoundError
        If a module does not exist.
    """
    found: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name], imported = _module(name)
            waiting += imported
    listing = "\n".join(f"{name} {found[name]}" for name in sorted(found))
    return hashlib.sha256(listing.encode()).hexdigest()


@cache
def _module(name: str) -> tuple[str, tuple[str, ...]]:
    """Digest of one module alone, and the caloforge modules that it imports."""
    path = _path(name)
    if path is None:
        raise ModuleNotFoundError(f"no module {name} in {_SOURCE}")
    tree = _without_docstrings(ast.parse(path.read_bytes(), path))
    content = hashlib.sha256(ast.dump(tree).encode())
    package = name.rpartition(".")[0]
    if path.name == "__init__.py":
        package = name
        for file in sorted(path.parent.iterdir()):
            if file.is_file() and file.suffix not in (".py", ".pyc"):
                content.update(file.name.encode() + file.read_bytes())
    return content.hexdigest(), tuple(sorted(set(_imported(tree, package)) - {name}))


@cache
def _path(name: str) -> Path | None:
    stem = _SOURCE.joinpath(*name.split("."))
    return next((path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()), None)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in (tree, *_statements(tree)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in node.body if not _is_text(statement)]
    return tree


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Everything within `node` that stands in a block, at any depth; expressions, which are many, do not."""
    for block in ("body", "orelse", "finalbody", "handlers", "cases"):
        for inner in getattr(node, block, ()):
            yield inner
            yield from _statements(inner)


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _imported(tree: ast.Module, package: str) -> Iterator[str]:
    for node in _statements(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = resolve_name("." * node.level + (node.module or ""), package)
            names = [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
        for name in names:
            yield from filter(_counts, _with_parents(name))


def _with_parents(name: str) -> Iterator[str]:
    """The packages that importing `name` executes, and `name` itself."""
    parts = name.split(".")
    yield from (".".join(parts[:depth]) for depth in range(1, len(parts) + 1))


def _counts(name: str) -> bool:
    top, *inner = name.split(".")
    return top == "caloforge" and inner[:1] != ["config"] and _path(name) is not None
