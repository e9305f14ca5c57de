"""A Python function seen from JSON: its schemas, its signature, and the way from arguments to a call."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Required, cast

from agentd.core.errors import OptionError
from agentd.core.tools import JSON, Schema
from agentd.tools.docstrings import read_docstring
from agentd.tools.hints import Function, namespace_of, resolve
from agentd.tools.signature import bound_by_partial, signature_text
from agentd.tools.typed import adapter_of, described, json_schema, problems_of

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)


class ArgumentsError(TypeError):
    """The arguments do not fit the function."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """What a function is called with."""

    positional: tuple[object, ...]
    named: dict[str, object]


class Interface:
    """How a function is called from JSON: `bind` turns a JSON object into its arguments, or raises `ArgumentsError`.

    A `*args` parameter is an array under its own name; what a `**kwargs` parameter takes are further keys. A
    parameter whose type no JSON can give takes any value, and a warning in the log says so.
    """

    def __init__(self, function: Function, name: str, types: Mapping[str, object]) -> None:
        signature = _signature(function, name)
        hidden = bound_by_partial(function)
        self._name = name
        self._names = namespace_of(function) | dict(types)
        self._parameters = [param for param in signature.parameters.values() if param.name not in hidden]
        self._by_name = all(param.kind in _BY_NAME for param in self._parameters)
        documentation = read_docstring(_docstring(function), [param.name for param in self._parameters])
        self._documented = documentation.parameters
        self.description = documentation.description
        self.signature = signature_text(name, [*map(self._undressed, self._parameters)], signature.return_annotation)
        self._adapter, self.input_schema = self._input()
        self.output_schema = self._output(signature.return_annotation)

    def bind(self, arguments: Mapping[str, JSON]) -> Arguments:
        """Return the call's arguments, converted to the annotated types; only what was given is passed on."""
        from pydantic import ValidationError

        try:
            given = cast("dict[str, object]", self._adapter.validator.validate_python(dict(arguments)))
        except ValidationError as error:
            text = problems_of(error, self._name)
        else:
            return Arguments((), given) if self._by_name else self._arranged(given)
        raise ArgumentsError(f"{text}; signature: {self.signature}")

    def _undressed(self, param: inspect.Parameter) -> inspect.Parameter:
        """Return the parameter with an `Annotated` that is still text resolved, so that only its type is shown."""
        if isinstance(param.annotation, str) and "Annotated" in param.annotation:
            return param.replace(annotation=self._hint(param))
        return param

    def _arranged(self, given: dict[str, object]) -> Arguments:
        """Put positional-only and variadic parameters where Python wants them."""
        positional: list[object] = []
        has_rest = any(given.get(param.name) for param in self._parameters if param.kind is param.VAR_POSITIONAL)
        for param in self._parameters:
            if param.kind is param.VAR_POSITIONAL:
                positional.extend(cast("list[object]", given.pop(param.name, [])))
            elif param.kind is param.POSITIONAL_ONLY or (has_rest and param.kind is param.POSITIONAL_OR_KEYWORD):
                positional.append(given.pop(param.name, param.default))
        return Arguments(tuple(positional), given)

    def _input(self) -> tuple[TypeAdapter[object], Schema]:
        hints = {param.name: self._hint(param) for param in self._parameters}
        try:
            return self._adapted(hints)
        except Exception:  # noqa: BLE001  # users' types may fail in any way; one at a time finds which
            return self._adapted({name: self._or_any(name, hint) for name, hint in hints.items()})

    def _hint(self, param: inspect.Parameter) -> object:
        if param.annotation is param.empty:
            return object
        try:
            return resolve(param.annotation, self._names)
        except Exception as error:  # noqa: BLE001  # evaluating an annotation may raise anything
            return self._any_instead(param.name, error)

    def _or_any(self, name: str, hint: object) -> object:
        try:
            self._adapted({name: hint})
        except Exception as error:  # noqa: BLE001  # as in _input
            return self._any_instead(name, error)
        return hint

    def _any_instead(self, name: str, error: Exception) -> object:
        import logging

        reason = (str(error).splitlines() or [""])[0]
        logging.getLogger(__name__).warning(
            "tool %s: the type of %r cannot be used (%s): it takes any value", self._name, name, reason
        )
        return object

    def _adapted(self, hints: Mapping[str, object]) -> tuple[TypeAdapter[object], Schema]:
        """Build the validator and the schema of the parameters in `hints`."""
        keys: dict[str, object] = {}
        extra: object = None
        for param in self._parameters:
            if param.name not in hints:
                continue
            if param.kind is param.VAR_KEYWORD:
                extra = hints[param.name]
                continue
            keys[param.name] = self._key(param, hints[param.name])
        adapter = adapter_of(keys, extra, self._names)
        return adapter, json_schema(adapter, {param.name: param.default for param in self._parameters})

    def _key(self, param: inspect.Parameter, hint: object) -> object:
        if param.kind is param.VAR_POSITIONAL:
            hint = list[hint]
        typed = described(hint, self._documented.get(param.name, ""))
        needed = param.default is param.empty and param.kind not in _VARIADIC
        return Required[typed] if needed else typed  # pyright: ignore[reportInvalidTypeForm]  # built at run time

    def _output(self, annotation: object) -> Schema | None:
        """Return the schema of the result, `None` when the annotation does not tell one."""
        if annotation is inspect.Signature.empty:
            return None
        try:
            hint = resolve(annotation, self._names)
            adapter = adapter_of({"result": hint}, None, self._names)
            whole = json_schema(adapter, {}, mode="serialization")
        except Exception:  # noqa: BLE001  # as in _input; a result needs no schema
            return None
        result = cast("dict[str, Schema]", whole["properties"])["result"]
        return (result | ({"$defs": whole["$defs"]} if "$defs" in whole else {})) or None


def _signature(function: Function, name: str) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise OptionError(f"tool {name}: {error}; wrap it in a function of your own") from error


def _docstring(function: Function) -> str | None:
    """Return what documents the call; a partial's own docstring is about partials."""
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.getdoc(function)
