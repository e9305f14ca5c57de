"""The file of a recording: vcrpy's cassette, with JSON bodies and event streams in a form that people can read."""

from __future__ import annotations

import base64
import contextlib
import importlib
import json
import os
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

from agentd.core.errors import AgentdError
from agentd.core.tools import JSON
from agentd.llm.sse_text import Block, join, split

_HEAD = "# Model traffic recorded by agentd.replay; it is played back as long as this file exists.\n"
_PRIVATE = 0o600


class ReplayUnavailable(AgentdError, ImportError):
    """Recording and replaying need the extra `agentd[replay]`."""


class CassetteError(AgentdError):
    """A cassette cannot be used."""


def opened(path: Path, matches: Any, fresh: bool) -> AbstractContextManager[Any]:
    """Return the context of vcrpy's cassette: loaded at its start, saved at an end without an error, if it grew.

    No class is patched by vcrpy: what it does to HTTP clients holds streams back until they are complete, even those
    of requests that it ignores, so that a stream without an end (MCP's, say) hangs.
    """
    machine: Any = vcr_part("config").VCR(record_on_exception=False, skip_patchers=vcr_part("patch").PATCHER_NAMES)
    machine.register_matcher("asked", matches)
    machine.register_serializer("readable", _Readable)
    machine.register_persister(_File(path, fresh))
    return machine.use_cassette(str(path), serializer="readable", match_on=("asked",))


def vcr_part(name: str) -> Any:
    """Return a module of vcrpy, which has no types and takes 0.3 s to load."""
    try:
        return importlib.import_module(f"vcr.{name}")
    except ImportError as error:
        raise ReplayUnavailable(f"pip install 'agentd[replay]' ({error})") from error


def check_writable(path: Path) -> None:
    """Raise at once what would otherwise be found when the recording is done and paid for."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise CassetteError(f"{path} cannot be written: {error.strerror or error}") from error
    if path.is_dir():
        raise CassetteError(f"{path} is a folder")


class _File:
    """Where vcrpy loads from and saves to: replaced as a whole or not at all, and the owner's alone when it is new."""

    def __init__(self, path: Path, fresh: bool) -> None:
        self._path = path
        self._fresh = fresh

    def load_cassette(self, _path: str, serializer: Any) -> Any:
        if self._fresh:
            raise vcr_part("persisters.filesystem").CassetteNotFoundError
        try:
            return vcr_part("serialize").deserialize(self._path.read_text("utf-8"), serializer)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CassetteError(f"{self._path}: {error}; record it anew with mode='record'") from error

    def save_cassette(self, _path: str, cassette_dict: Any, serializer: Any) -> None:
        text: str = vcr_part("serialize").serialize(cassette_dict, serializer)
        temporary = ""
        try:
            mode = self._path.stat().st_mode & 0o777 if self._path.exists() else _PRIVATE
            handle, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), mode)
            Path(temporary).replace(self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise CassetteError(f"{self._path} cannot be written: {error.strerror or error}") from error


class _Readable:
    """vcrpy's serializer: texts in, texts out; in the file JSON is YAML and a stream is a list of its events."""

    @staticmethod
    def serialize(cassette_dict: Any) -> str:
        for interaction in cassette_dict["interactions"]:
            request, response = interaction["request"], interaction["response"]
            request["headers"] = {name: values[0] for name, values in request["headers"].items()}
            response["headers"] = {name: ", ".join(values) for name, values in response["headers"].items()}
            kind = response["headers"].get("content-type", "")
            request["body"] = _shown(request["body"])
            response["body"] = _shown(response["body"]["string"], "text/event-stream" in kind)
        return _dump(cassette_dict)

    @staticmethod
    def deserialize(cassette_string: str) -> Any:
        loaded = _load(cassette_string)
        whole: dict[str, Any] = cast("dict[str, Any]", loaded) if isinstance(loaded, dict) else {}
        interactions = whole.get("interactions")
        if not isinstance(interactions, list):
            raise ValueError("it has no list of interactions")
        for number, interaction in enumerate(cast("list[Any]", interactions), 1):
            try:
                request, response = interaction["request"], interaction["response"]
                if not (isinstance(request["method"], str) and isinstance(request["uri"], str)):
                    raise ValueError("the method and the uri must be texts")
                if not isinstance(response["status"]["code"], int):
                    raise ValueError("the code of the status must be a number")
                request["body"] = _hidden(request["body"])
                response["body"] = {"string": _hidden(response["body"])}
                response["headers"] = {name: [value] for name, value in response["headers"].items()}
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
                raise ValueError(f"interaction {number}: {what}") from error
        return whole


def _shown(body: str | bytes | None, is_stream: bool = False) -> Any:
    if body is None or body in ("", b""):
        return None
    if isinstance(body, bytes):
        return {"base64": base64.b64encode(body).decode()}
    if is_stream:
        return {"events": [_block(each) for each in split(body)]}
    value = as_json(body)
    return {"text": body} if value is None else {"json": value}


def _block(block: Block) -> Any:
    if block.raw is not None:
        return {"raw": block.raw}
    value = as_json(block.data)
    shown = {"event": block.event} if block.event else {}
    return _OneLine(shown | {"data": block.data if value is None else value})


def _hidden(shown: Any) -> str | bytes | None:
    match shown:
        case None:
            return None
        case {"base64": str(text)}:
            return base64.b64decode(text, validate=True)
        case {"text": str(text)}:
            return text
        case {"json": value}:
            return _compact(value)
        case {"events": blocks}:
            return join(_unblock(each) for each in blocks)
        case _:
            raise ValueError("its body is neither json, events, text nor base64")


def _unblock(shown: Any) -> Block:
    match shown:
        case {"raw": str(raw)}:
            return Block("", "", raw)
        case {"data": data}:
            return Block(str(shown.get("event", "")), data if isinstance(data, str) else _compact(data))
        case _:
            raise ValueError("an event has neither data nor raw")


def as_json(text: str) -> dict[str, JSON] | list[JSON] | None:
    """Return the JSON object or array that a text is, `None` when it is none that YAML and UTF-8 can hold."""
    try:
        value: JSON = json.loads(text)
        _compact(value).encode()
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None


def _compact(value: JSON) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class _OneLine(dict[str, Any]):
    """An object that is written on one line."""


def _dump(value: Any) -> str:
    """Write YAML in the order given; a text of several lines as such, what is marked so on one line."""
    yaml = _yaml()
    base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

    def never(_dumper: Any, _value: Any) -> bool:
        return True

    def text(dumper: Any, value: str) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    def line(dumper: Any, value: Any) -> Any:
        return dumper.represent_mapping("tag:yaml.org,2002:map", value.items(), flow_style=True)

    dumper: Any = type("_Dumper", (base,), {"ignore_aliases": never})
    dumper.add_representer(str, text)
    dumper.add_representer(_OneLine, line)
    layout: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 2**30, "default_flow_style": False}
    return _HEAD + yaml.dump(value, Dumper=dumper, **layout)


def _load(text: str) -> Any:
    yaml = _yaml()
    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        raise ValueError(f"{place}it is not YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"it is not YAML: {error}") from error


def _yaml() -> Any:
    """Return PyYAML, which vcrpy brings along."""
    return vcr_part("serializers.yamlserializer").yaml
