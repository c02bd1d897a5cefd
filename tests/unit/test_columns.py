import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caloforge.errors import CaloforgeError
from caloforge.ingest.columns import parse

COLUMNS = {
    "E": np.array([3, 5], dtype=np.int32),
    "p": np.array([[1, 2, 2], [0.5, -1, 0]], dtype=np.float32),
    "one": np.array([[7.0], [8.0]]),
    "Event.Number": np.array([2**62 + 1, 4]),
    "conditions/px": np.array([3.0, 6.0]),
    "conditions/pz": np.array([4.0, 3.0]),
    "conditions": np.array([1.0, 1.0]),
    "run": np.array([2_000_000_000, 1], dtype=np.int32),
}


def value(text):
    return parse(text, COLUMNS, "f.h5", "key")(COLUMNS).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("E", [3, 5]),
        (" E ", [3, 5]),
        ("p[1]", [2, -1]),
        ("one", [7, 8]),
        ("one[0]", [7, 8]),
        ("E[0]", [3, 5]),
        ("Event.Number", [2**62 + 1, 4]),  # more digits than a double holds
        ("conditions/px", [3, 6]),
        ("conditions/px/conditions/pz", [0.75, 2]),
        ("conditions/conditions/px", [1 / 3, 1 / 6]),
        ("-(conditions/px ** 2 + conditions/pz**2) / -5", [5, 9]),
        ("sqrt(p[0]**2 + p[1]**2 + p[2]**2)", [3, math.sqrt(1.25)]),
        ("arccos(p[2] / 2)", [0, math.pi / 2]),
        ("arctan2(p[1], p[0])", [math.atan2(2, 1), math.atan2(-1, 0.5)]),
        ("arctan(-conditions/px / conditions/pz)", [math.atan(-0.75), math.atan(-2)]),
        ("sqrt(\n  E *\n  E\n)\n", [3, 5]),
        ("E ** -1", [1 / 3, 0.2]),
        ("run + run", [4e9, 2]),  # beyond the 32 bits of the column
        ("2e3 * E", [6000, 10000]),
    ],
)
def test_formulas_by_hand(text, expected):
    np.testing.assert_allclose(value(text), expected, rtol=1e-15, atol=0)


def test_columns_to_read():
    assert parse("E + sqrt(p[0]) - E * conditions/px", COLUMNS, "f.h5").columns == ("E", "p", "conditions/px")


def test_not_a_number_is_left_to_the_check_of_the_values():
    found = value("(E - 3) / (E - 3) + (E - 5) / (E - 5)")
    assert all(math.isnan(number) for number in found)
    assert value("E * (1 / 0)") == [math.inf, math.inf]
    assert value("E * 10 ** 10 ** 10") == [math.inf, math.inf]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("e", r"f\.h5: no key e, found E, Event\.Number, conditions"),
        ("2 * energi", r"f\.h5: no key energi, found E, Event\.Number"),
        ("conditions/py", r"f\.h5: no key py, did you mean p\?"),
        ("groups/E", r"f\.h5: no key groups, found E"),
        ("().__class__", r"f\.h5: no key \(\)\.__class__, found E"),
        ("Event.Numbr + 1", r"f\.h5: no key Event\.Numbr, did you mean Event\.Number\?"),
        ("sqrt(E, E)", r"f\.h5: sqrt with 2 values found in 'sqrt\(E, E\)', expected 1"),
        ("arctan2(E)", r"arctan2 with 1 values found in 'arctan2\(E\)', expected 2"),
        *(
            (text, r"f\.h5: no key .* \(formulas may have \+ - \* / \*\*, sqrt, log, .*arctan2\)")
            for text in (
                "",
                "1 + 2",
                "E +",
                "E if E else E",
                "p[-1]",
                "p[True]",
                "p[0][0]",
                "p[0:2]",
                "True * E",
                "1j * E",
                "'text'",
                "E @ E",
                "E // 2",
                "sqrt(x=E)",
                "sqrt(*E)",
                "E < 3",
                "__import__('os')",
                "E.real(0)",
                "(lambda: E)()",
                "E; E",
                "E\nE",
                "\0",
                f"E * {10**400}",
                "-" * 5000 + "E",
                "(" * 5000 + "E",
            )
        ),
    ],
)
def test_refuses_what_is_no_formula(text, message):
    with pytest.raises(CaloforgeError, match=message):
        parse(text, COLUMNS, "f.h5", "key")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("p", r"f\.h5, key p: 3 components per event found, expected one number: p\[0\] takes the first"),
        ("sqrt(p)", r"f\.h5, key p: 3 components per event found, expected one number"),
        ("p[3]", r"f\.h5, key p: 3 components per event found, expected more than 3: p\[3\]"),
        ("E[1]", r"f\.h5, key E: one number per event found, expected more than 1: E\[1\]"),
        ("2 * one[1]", r"f\.h5, key one: 1 components per event found, expected more than 1"),
    ],
)
def test_refuses_a_wrong_number_of_components(text, message):
    with pytest.raises(CaloforgeError, match=message):
        value(text)


FORMULAS = st.recursive(
    st.sampled_from(["E", "run", "p[0]", "p[2]", "one", "(E - 0.5)", "(2.0 / one)"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "**"]), inner).map(
            lambda parts: f"({' '.join(parts)})"
        ),
        st.tuples(st.sampled_from(["-", "+", "sqrt", "log", "abs", "cos"]), inner).map(
            lambda parts: f"{parts[0]}({parts[1]})"
        ),
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(FORMULAS)
def test_formulas_are_what_numpy_makes_of_them(text):
    numbers = {name: np.float64(COLUMNS[name]).reshape(2) for name in ("E", "run", "one")}
    numbers |= {name: getattr(np, name) for name in ("sqrt", "log", "abs", "cos")}
    numbers["p"] = np.float64(COLUMNS["p"]).T.copy()
    with np.errstate(all="ignore"):
        expected = eval(text, numbers)
    np.testing.assert_array_equal(value(text), expected)
