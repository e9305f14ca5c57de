"""What each kind of model API takes as the parameters of a function."""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

_NUMBERS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
_COUNTS = frozenset({"minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties"})
_ALL = _NUMBERS | _COUNTS | {"minLength", "maxLength", "pattern", "format"}
_ANY_NAME = re.compile(r'[^\x00-\x1f\x7f-\x9f\ud800-\udfff"\\]{1,128}')


@dataclass(frozen=True, slots=True)
class Dialect:
    """The part of JSON Schema that an API takes; the rest is said in words.

    `null` is how a value is marked that may be null: by its `type`, by a `nullable` beside it, or not at all.
    `formats` are the values of `format`, `None` for any. `open` tells whether `additionalProperties` is taken, `text`
    whether an object of unknown keys is asked for as JSON text. `max_description` is of the tool's own description.
    """

    names: re.Pattern[str] = _ANY_NAME
    refused: AbstractSet[str] = frozenset()
    references: bool = True
    type_lists: bool = True
    null: Literal["type", "nullable", "words"] = "type"
    bounds: AbstractSet[str] = _ALL
    formats: AbstractSet[str] | None = None
    default: bool = True
    open: bool = True
    text: bool = False
    any_enum: bool = True
    max_description: int = 8_000


# OpenAI refused tool descriptions of more than 1,024 characters; what is over stands in the parameters' own.
_OPENAI = Dialect(max_description=1_024)
_COMPATIBLE = Dialect(
    references=False,
    type_lists=False,
    bounds=_ALL - {"multipleOf", "uniqueItems", "minProperties", "maxProperties"},
    max_description=1_024,
)
_ANTHROPIC = Dialect(names=re.compile(r"[a-zA-Z0-9_.-]{1,64}"))
# LiteLLM drops every key called `strict` on the way to Gemini, properties of that name too.
_GEMINI = Dialect(
    names=re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}"),
    refused=frozenset({"strict"}),
    references=False,
    type_lists=False,
    null="nullable",
    bounds=frozenset({"minimum", "maximum", "minItems", "maxItems", "format"}),
    formats=frozenset({"date-time"}),
    default=False,
    open=False,
    text=True,
    any_enum=False,
)
_OLLAMA = Dialect(
    references=False,
    type_lists=False,
    null="words",
    bounds=frozenset(),
    default=False,
    open=False,
    any_enum=False,
)
DIALECTS = {
    "openai": _OPENAI,
    "openai-compatible": _COMPATIBLE,
    "anthropic": _ANTHROPIC,
    "gemini": _GEMINI,
    "ollama": _OLLAMA,
}
