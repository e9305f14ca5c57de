"""Types to validators and JSON Schema: the only part that knows pydantic."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Literal, cast, get_args, get_origin

from agentd.core.tools import JSON, Schema
from agentd.tools.values import to_json

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError
    from pydantic_core import ErrorDetails

_MAX_PROBLEMS = 3
_MAX_VALUE = 80
_PLAIN = (str, int, float, bool, list, dict, tuple, set, frozenset, type(None))


def described(hint: object, documented: str) -> object:
    """Return `hint` with its description: the one in its `Annotated`, else the documented one."""
    from pydantic import Field

    text = documented
    if get_origin(hint) is Annotated:
        for extra in cast("tuple[object, ...]", get_args(hint)[1:]):
            said = getattr(extra, "description", None) or getattr(extra, "documentation", None)
            text = extra if isinstance(extra, str) else said if isinstance(said, str) else text
    if not text:
        return hint
    return Annotated[hint, Field(description=text)]  # pyright: ignore[reportInvalidTypeForm]  # built at run time


def adapter_of(keys: Mapping[str, object], extra: object, names: dict[str, object]) -> TypeAdapter[object]:
    """Return the validator of a JSON object with these keys: optional ones unless `Required`, others of type `extra`.

    Conversion is lax where it is unambiguous: "5" is a fine `int`, 5 a fine `str`. `names` are what the annotations
    inside of local dataclasses may name.
    """
    from pydantic import ConfigDict, TypeAdapter, with_config
    from typing_extensions import TypedDict

    make = cast(Callable[..., type], TypedDict)
    config = ConfigDict(coerce_numbers_to_str=True)
    if extra is None:
        config["extra"] = "forbid"
        shape = make("Arguments", dict(keys), total=False)
    else:
        shape = make("Arguments", dict(keys), total=False, extra_items=extra)
    adapter = TypeAdapter[object](with_config(config)(shape))
    if not adapter.pydantic_complete:
        adapter.rebuild(_types_namespace=names)
    return adapter


def json_schema(
    adapter: TypeAdapter[object],
    defaults: Mapping[str, object],
    mode: Literal["validation", "serialization"] = "validation",
) -> Schema:
    """Return the adapter's JSON Schema, without made-up titles, with those defaults that are plain data."""
    from pydantic.json_schema import GenerateJsonSchema

    class Untitled(GenerateJsonSchema):
        def field_title_should_be_set(self, schema: object) -> bool:
            return False

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schema = cast(Schema, adapter.json_schema(mode=mode, schema_generator=Untitled))
    schema.pop("title", None)
    properties = cast("dict[str, dict[str, JSON]]", schema.setdefault("properties", {}))
    for name, default in defaults.items():
        if name in properties and isinstance(default, _PLAIN) and default is not inspect.Parameter.empty:
            properties[name].setdefault("default", to_json(cast(object, default)))
    return schema


def problems_of(error: ValidationError, name: str) -> str:
    """Return what is wrong with the arguments of a call of `name`, each named, in one line."""
    found = error.errors(include_url=False, include_context=False)
    texts = [_problem(detail) for detail in found[:_MAX_PROBLEMS]]
    more = len(found) - len(texts)
    return f"{name}() {', '.join(texts)}" + (f" and {more} more" if more else "")


def _problem(detail: ErrorDetails) -> str:
    place = ".".join(str(step) for step in detail["loc"])
    if detail["type"] == "extra_forbidden" and len(detail["loc"]) == 1:
        return f"has no argument {place!r}"
    if detail["type"] == "missing":
        return f"is missing argument {place!r}"
    value = repr(detail["input"])
    shown = value if len(value) <= _MAX_VALUE else value[: _MAX_VALUE - 1] + "…"
    message = detail["msg"]
    return f"argument {place!r}: {message[:1].lower()}{message[1:]} (got {shown})"
