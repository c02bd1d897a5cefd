"""Columns of a source by name, by component or by formula."""

import ast
import operator
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
        """Evaluate it for events whose columns have shape (n,), or (n, k) where a component is taken."""
        with np.errstate(all="ignore"):
            return self._evaluate(columns)


def parse(text: str, present: Collection[str], where: str, noun: str = "branch") -> Formula:
    """A column name, a component `name[1]` of a vector, or arithmetic of such with NumPy's function names.

    A text that is the name of a column, whatever characters it has, is that column.

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
        return Formula(text, (text,), operator.itemgetter(text))
    names: list[str] = []

    def compiled(node: ast.AST) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
        match node:
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                return lambda _: number
            case ast.Name() | ast.Attribute():
                name = ast.unparse(node)
                if name not in present:
                    raise CaloforgeError(f"{where}: no {noun} {name}{alternatives(name, present)}")
                names.append(name)
                return operator.itemgetter(name)
            case ast.Subscript(value=ast.Name() | ast.Attribute(), slice=ast.Constant(value=int() as number)):
                column = compiled(node.value)
                return lambda columns: _component(column(columns), number, ast.unparse(node), where)
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
                value, act = compiled(operand), _OPERATORS[type(op)]
                return lambda columns: act(value(columns))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                first, second, act = compiled(left), compiled(right), _OPERATORS[type(op)]
                return lambda columns: act(first(columns), second(columns))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
                values, function = [compiled(argument) for argument in arguments], _FUNCTIONS[name]
                if len(values) != function.nin:
                    raise CaloforgeError(
                        f"{where}: {name} with {len(values)} values found in {text!r}, "
                        f"expected {function.nin}"
                    )
                return lambda columns: function(*(value(columns) for value in values))
        raise _not_a_formula(text, present, where, noun)

    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise _not_a_formula(text, present, where, noun) from None
    evaluate = compiled(tree)
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


def _component(column: np.ndarray, number: int, text: str, where: str) -> np.ndarray:
    if column.ndim != 2 or not 0 <= number < column.shape[1]:
        found = f"{column.shape[1]} components" if column.ndim == 2 else "one number"
        raise CaloforgeError(f"{where}: {text}: {found} per event found, expected more than {number}")
    return column[:, number]


def _not_a_formula(text: str, present: Collection[str], where: str, noun: str) -> CaloforgeError:
    return CaloforgeError(
        f"{where}: no {noun} {text}{alternatives(text, present)} "
        f"(formulas may have + - * / **, {', '.join(_FUNCTIONS)})"
    )
