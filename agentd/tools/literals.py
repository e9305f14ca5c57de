"""Python literals where JSON was asked for."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable
from typing import cast

from agentd.core.tools import JSON

_ESCAPES = re.compile(r"\\(.)", re.DOTALL)

ObjectOf = Callable[[list[tuple[str, JSON]]], JSON]
NumberOf = Callable[[int | float], JSON]


def read_literal(text: str, object_of: ObjectOf, number_of: NumberOf) -> JSON:
    """Return what a literal of dicts, lists, texts, numbers and constants says; raise `ValueError` for anything else.

    What may have a second meaning is refused too: an escape that JSON has not, two texts beside each other. The two
    functions make the objects and numbers, and may refuse them.
    """
    if any(escape not in "\\'\"nrt" for escape in _ESCAPES.findall(text)):
        raise ValueError
    _refuse_odd_strings(text)
    return _Literal(object_of, number_of).value(ast.parse(text, mode="eval").body)


def _refuse_odd_strings(text: str) -> None:
    """Refuse texts with a prefix, and two beside each other, which Python joins: a comma may be missing there."""
    before = -1
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.STRING and (before == tokenize.STRING or token.string[0] not in "'\""):
                raise ValueError
            before = before if token.type in (tokenize.NL, tokenize.COMMENT) else token.type
    except tokenize.TokenError as error:
        raise ValueError from error


class _Literal:
    def __init__(self, object_of: ObjectOf, number_of: NumberOf) -> None:
        self._object_of = object_of
        self._number_of = number_of

    def value(self, node: ast.expr) -> JSON:
        if isinstance(node, ast.Dict):
            keys = [key.value if isinstance(key, ast.Constant) else None for key in node.keys]
            if not all(isinstance(key, str) for key in keys):
                raise ValueError
            pairs = zip(keys, node.values, strict=True)
            return self._object_of([(cast(str, key), self.value(value)) for key, value in pairs])
        if isinstance(node, ast.List):
            return [self.value(item) for item in node.elts]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            number = self.value(node.operand)
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise ValueError
            return -number
        return self._constant(node.value if isinstance(node, ast.Constant) else ...)

    def _constant(self, value: object) -> JSON:
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, int | float):
            return self._number_of(value)
        raise ValueError
