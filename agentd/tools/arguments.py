"""The arguments of a tool call: what the model wrote as what the tool wants."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from agentd.core.tools import JSON
from agentd.tools.jsontext import NotArguments, read_object
from agentd.tools.offers import Offer
from agentd.tools.outline import outline
from agentd.tools.pointers import Document
from agentd.tools.renaming import own_names
from agentd.tools.repairs import Repair
from agentd.tools.validity import Check, Unending
from agentd.tools.words import cleaned

_MAX_SHOWN = 8
_END = 200
_WHOLE = re.compile(r"[0-9](?:\.0|[eE][+-]?[0-9])")


@dataclass(frozen=True, slots=True)
class Problem:
    """Why arguments cannot be used: `text` is for the model, so that it can correct itself."""

    text: str


def read_arguments(text: str, offer: Offer) -> dict[str, JSON] | Problem:
    """Return a call's arguments as the tool's own schema wants them.

    What the schema accepts is returned as it is. Else it is repaired where only one thing can have been meant: a number
    or an object written as a text, a null for what may be left out, a key in another case. What only the server can
    tell (bounds, formats, conditions) is left to it.
    """
    try:
        arguments = read_object(text)
        _refuse_halves(arguments, text)
    except NotArguments as error:
        return _problem(offer, text, [str(error)])
    try:
        return _fitted(arguments, text, offer)
    except (Unending, RecursionError):
        return arguments


def _fitted(arguments: dict[str, JSON], text: str, offer: Offer) -> dict[str, JSON] | Problem:
    schema: JSON = offer.spec.input_schema
    document = Document(schema)
    if offer.renames:
        arguments = own_names(arguments, document, offer.flavour)
    check = Check(document)
    is_fit = check.fits(arguments, schema)
    # An integer may be written as 5.0, which fits, but which not every server reads.
    if is_fit and not _WHOLE.search(text):
        return arguments
    repair = Repair(check)
    result = repair.fitted(arguments, schema)
    if isinstance(result, dict) and not repair.problems and check.fits(result, schema):
        return result
    return arguments if is_fit else _problem(offer, text, repair.problems or ["$: does not fit"])


def _refuse_halves(arguments: dict[str, JSON], text: str) -> None:
    """Refuse texts that cannot be sent on: one half of a character outside the basic plane."""
    if text.isascii() and "\\ud" not in text and "\\uD" not in text:
        return
    try:
        json.dumps(arguments, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise NotArguments("a text holds half of a character, a lone surrogate") from error
    except RecursionError as error:
        raise NotArguments("it is nested too deeply") from error


def _problem(offer: Offer, text: str, problems: list[str]) -> Problem:
    lines = [f"The arguments do not fit: {problems[0]}"] if len(problems) == 1 else ["The arguments do not fit:"]
    if len(problems) > 1:
        lines += [f"- {each}" for each in problems[:_MAX_SHOWN]]
        lines += [f"- and {len(problems) - _MAX_SHOWN} more"] if len(problems) > _MAX_SHOWN else []
    lines.append(f"Signature: {outline(offer.name, offer.parameters)}")
    end = cleaned(text[-_END:], _END)
    lines.append(f"You sent: {'…' if len(text) > _END else ''}{end}" if end else "You sent nothing.")
    return Problem("\n".join(lines))
