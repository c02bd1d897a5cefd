"""Columns of a source by name, by component or by formula."""

import ast
import operator
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from caloforge.errors import CaloforgeError

_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_FUNCTIONS = {
    name: getattr(np, name)
    for name in ("sqrt", "log", "exp", "abs", "hypot", "sin", "cos", "tan", "arcsin", "arccos", "arctan")
} | {"arctan2": np.arctan2}


@dataclass(frozen=True)
class Formula:
    """A number per event made of columns.

    Attributes
    ----------
    text
        As the configuration writes it.
    columns
        Names of the columns it needs.
    """

    text: str
    columns: tuple[str, ...]
    _evaluate: Callable[[Mapping[str, np.ndarray]], np.ndarray]

    def __call__(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Evaluate it for n events whose columns have shape (n,) or (n, k): shape (n,).

        Arithmetic is in double precision; a column or component alone keeps its type.

        Raises
        ------
        CaloforgeError
            If a column has another number of components than the formula takes.
        """
        with np.errstate(all="ignore"):
            return self._evaluate(columns)


def parse(text: str, present: Collection[str], where: str, noun: str = "branch") -> Formula:
    """A column name, a component `name[1]` of a vector, or arithmetic of such with NumPy's function names.

    A text that is the name of a column, whatever characters it has, is that column. Within a formula, names
    with characters such as the slash of `group/key` come before the operator.

    Parameters
    ----------
    text
        The formula.
    present
        Names of the columns of the source.
    where, noun
        File and tree, and what the file calls a column, for messages.

    Raises
    ------
    CaloforgeError
        If the text is no formula or names a column that the source does not have.
    """
    if text in present:
        return Formula(text, (text,), lambda columns: _single(columns[text], text, where, noun))
    names: list[str] = []
    text = " ".join(text.split())
    python, originals = _identified(text, present)

    def column(node: ast.Name | ast.Attribute) -> str:
        name = ast.unparse(node)
        name = originals.get(name, name)
        if name not in present:
            raise CaloforgeError(f"{where}: no {noun} {name}{alternatives(name, present)}")
        names.append(name)
        return name

    def compiled(node: ast.AST) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                number = np.float64(value)
                return lambda _: number
            case ast.Name() | ast.Attribute():
                name = column(node)
                return lambda columns: _single(columns[name], name, where, noun)
            case ast.Subscript(
                value=ast.Name() | ast.Attribute() as vector, slice=ast.Constant(value=int() as number)
            ) if not isinstance(number, bool):
                name = column(vector)
                return lambda columns: _component(columns[name], number, name, where, noun)
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
                return _applied(_OPERATORS[type(op)], compiled(operand))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return _applied(_OPERATORS[type(op)], compiled(left), compiled(right))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
                function = _FUNCTIONS[name]
                if len(arguments) != function.nin:
                    raise CaloforgeError(
                        f"{where}: {name} with {len(arguments)} values found in {text!r}, "
                        f"expected {function.nin}"
                    )
                return _applied(function, *map(compiled, arguments))
        raise _not_a_formula(text, present, where, noun)

    try:
        evaluate = compiled(ast.parse(python, mode="eval").body)
    except (SyntaxError, ValueError, OverflowError, MemoryError, RecursionError):
        raise _not_a_formula(text, present, where, noun) from None
    if not names:
        raise _not_a_formula(text, present, where, noun)
    return Formula(text, tuple(dict.fromkeys(names)), evaluate)


def alternatives(name: str, present: Collection[str]) -> str:
    """What may have been meant by the name of a column or tree that is not there, to end a message with."""
    names = sorted(present)
    nearest = get_close_matches(name, names, n=1)
    if nearest:
        return f", did you mean {nearest[0]}?"
    shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    return f", found {shown or 'nothing'}"


def _identified(text: str, present: Collection[str]) -> tuple[str, dict[str, str]]:
    """The formula with an identifier for each column that Python would take for several, and their names."""
    odd = [name for name in present if re.match(r"[^\W\d]", name) and not re.fullmatch(r"[\w.]+", name)]
    identifiers = {name: f"_{number}_" for number, name in enumerate(sorted(odd, key=len, reverse=True))}
    if odd:
        anywhere = rf"(?<![\w.])(?:{'|'.join(map(re.escape, identifiers))})(?!\w)"
        text = re.sub(anywhere, lambda match: identifiers[match[0]], text)
    return text, {identifier: name for name, identifier in identifiers.items()}


def _applied(
    act: Callable[..., np.ndarray], *values: Callable[[Mapping[str, np.ndarray]], np.ndarray]
) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
    return lambda columns: act(*(np.asarray(value(columns), np.float64) for value in values))


def _single(column: np.ndarray, name: str, where: str, noun: str) -> np.ndarray:
    if column.ndim == 2 and column.shape[1] != 1:
        raise CaloforgeError(
            f"{where}, {noun} {name}: {column.shape[1]} components per event found, expected one number: "
            f"{name}[0] takes the first"
        )
    return column.reshape(len(column))


def _component(column: np.ndarray, number: int, name: str, where: str, noun: str) -> np.ndarray:
    components = column.reshape(len(column), -1)
    if number >= components.shape[1]:
        found = f"{components.shape[1]} components" if column.ndim == 2 else "one number"
        raise CaloforgeError(
            f"{where}, {noun} {name}: {found} per event found, expected more than {number}: {name}[{number}]"
        )
    return components[:, number]


def _not_a_formula(text: str, present: Collection[str], where: str, noun: str) -> CaloforgeError:
    return CaloforgeError(
        f"{where}: no {noun} {text}{alternatives(text, present)} "
        f"(formulas may have + - * / **, {', '.join(_FUNCTIONS)})"
    )
