"""Docstrings of every style give a description and one text a parameter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.tools.docstrings import read_docstring

GOOGLE = """Add two numbers.

    More about it.

    Args:
        a (int): The first
            of the two.
        b: The second. Defaults to 2.
        *rest: Further ones.

    Returns:
        int: The sum.
    """
NUMPY = """Add two numbers.

    More about it.

    Parameters
    ----------
    a : int
        The first
        of the two.
    b, rest : int, optional
        The second. Defaults to 2.
    """
REST = """Add two numbers.

    More about it.

    :param a: The first
        of the two.
    :param int b: The second. Defaults to 2.
    :param rest: Further ones.
    :returns: The sum.
    """
EPYDOC = """Add two numbers.

    More about it.

    @param a: The first of the two.
    @type a: int
    @param b: The second. Defaults to 2.
    @param rest: Further ones.
    """
PLAIN = """Add two numbers.

    More about it.

    a: The first
       of the two.
    `b` (int): The second. Defaults to 2.
    - rest - Further ones.
    """


@pytest.mark.parametrize(
    "text", [GOOGLE, NUMPY, REST, EPYDOC, PLAIN], ids=["google", "numpy", "rest", "epydoc", "plain"]
)
def test_every_style_says_the_same(text: str) -> None:
    found = read_docstring(text, ["a", "b", "rest"])
    assert found.description == "Add two numbers.\n\nMore about it."
    assert found.parameters["a"] == "The first of the two."
    assert found.parameters["b"] == "The second. Defaults to 2."
    assert found.parameters["rest"] in ("Further ones.", "The second. Defaults to 2.")


def test_a_line_of_prose_is_no_parameter() -> None:
    found = read_docstring("Search.\n\nNote: this is slow.\nquery: What to look for: all of it.", ["query"])
    assert found.parameters == {"query": "What to look for: all of it."}
    assert found.description == "Search.\n\nNote: this is slow."


def test_names_that_are_no_parameters_are_left_out() -> None:
    assert read_docstring("Do.\n\nArgs:\n    ghost: Boo.\n    a: Real.", ["a"]).parameters == {"a": "Real."}


@pytest.mark.parametrize("text", [None, "", "  \n\t "])
def test_no_docstring(text: str | None) -> None:
    found = read_docstring(text, ["a"])
    assert (found.description, found.parameters) == ("", {})


@pytest.mark.parametrize(
    "text",
    [
        "Args:\n  :\n\n ::: Parameters\n-----\n",
        ":param",
        ":param :",
        "Parameters\n----------\n\n\n",
        "Args:",
        "@param",
        "\x00",
    ],
)
def test_odd_ones_keep_what_they_say(text: str) -> None:
    assert read_docstring(text, ["a"]).parameters == {}


PIECES = [
    "Args:",
    "\n",
    "    ",
    "a",
    ":",
    "param",
    "Parameters",
    "----------",
    " - ",
    "@",
    "Returns:",
    "{",
    "`",
    ".. code::",
    "\t",
]


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=8)), max_size=30).map("".join))
def test_nothing_raises(text: str) -> None:
    found = read_docstring(text, ["a", "param"])
    assert set(found.parameters) <= {"a", "param"}
