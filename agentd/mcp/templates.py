"""URI templates, as servers give them for families of resources (RFC 6570, all four levels).

The SDK has a parser for servers, which matches URIs too and so refuses templates that need not be matched here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from agentd.core.errors import OptionError

Value = str | int | float | Sequence[str] | Mapping[str, str] | None

_EXPRESSION = re.compile(r"\{([^{}]*)\}")
_VARIABLE = re.compile(r"((?:[A-Za-z0-9_.]|%[0-9A-Fa-f]{2})+)(?::([1-9][0-9]{0,3})|(\*))?")
_RESERVED = ":/?#[]@!$&'()*+,;="


@dataclass(frozen=True, slots=True)
class _Operator:
    first: str = ""
    between: str = ","
    named: bool = False
    if_empty: str = ""
    safe: str = ""


_OPERATORS = {
    "": _Operator(),
    "+": _Operator(safe=_RESERVED),
    "#": _Operator("#", safe=_RESERVED),
    ".": _Operator(".", "."),
    "/": _Operator("/", "/"),
    ";": _Operator(";", ";", named=True),
    "?": _Operator("?", "&", named=True, if_empty="="),
    "&": _Operator("&", "&", named=True, if_empty="="),
}


def expand(template: str, **values: Value) -> str:
    """Return the URI that `template` makes of `values`.

    A value is text, a number, a list or a mapping of texts; one that is missing or `None` is left out, as the standard
    has it. `OptionError` when the template is malformed.
    """
    expanded = _EXPRESSION.sub(lambda found: _expression(template, found[1], values), template)
    literal = _EXPRESSION.sub("", template)
    if "{" in literal or "}" in literal:
        raise OptionError(f"the URI template {template!r} has a brace that is not closed, or not opened")
    return expanded


def variables(template: str) -> list[str]:
    """Return the names that `template` has room for, in order."""
    names: list[str] = []
    for found in _EXPRESSION.finditer(template):
        _, specs = _parsed(template, found[1])
        names += [name for name, _, _ in specs if name not in names]
    return names


def _parsed(template: str, expression: str) -> tuple[_Operator, list[tuple[str, int, bool]]]:
    symbol = expression[:1] if expression[:1] in _OPERATORS else ""
    specs: list[tuple[str, int, bool]] = []
    for part in expression.removeprefix(symbol).split(","):
        found = _VARIABLE.fullmatch(part)
        if found is None:
            raise OptionError(f"the URI template {template!r} has {{{expression}}}, which is not a valid expression")
        specs.append((found[1], int(found[2] or 0), found[3] is not None))
    return _OPERATORS[symbol], specs


def _expression(template: str, expression: str, values: Mapping[str, Value]) -> str:
    operator, specs = _parsed(template, expression)
    parts: list[str] = []
    for name, length, explode in specs:
        part = _variable(operator, name, values.get(name), length, explode)
        if part is not None:
            parts.append(part)
    return operator.first + operator.between.join(parts) if parts else ""


def _variable(operator: _Operator, name: str, value: Value, length: int, explode: bool) -> str | None:
    if value is None:
        return None
    if isinstance(value, str | int | float):
        text = str(value)
        return _named(operator, name, _quoted(operator, text[:length] if length else text))
    if not value:
        return None
    pairs = isinstance(value, Mapping)
    if explode and pairs:
        return operator.between.join(
            f"{_quoted(operator, key)}={_quoted(operator, item)}" for key, item in value.items()
        )
    flat = [part for pair in value.items() for part in pair] if pairs else list(value)
    items = [_quoted(operator, item) for item in flat]
    if explode:
        return operator.between.join(_named(operator, name, item) for item in items)
    return _named(operator, name, ",".join(items))


def _named(operator: _Operator, name: str, text: str) -> str:
    if not operator.named:
        return text
    return f"{name}={text}" if text else name + operator.if_empty


def _quoted(operator: _Operator, text: str) -> str:
    if not operator.safe:
        return quote(text, safe="~")
    # What is percent-encoded already stays so where reserved characters are allowed.
    parts = re.split(r"(%[0-9A-Fa-f]{2})", text)
    return "".join(
        part if part.startswith("%") and len(part) == 3 else quote(part, safe=operator.safe + "~") for part in parts
    )
