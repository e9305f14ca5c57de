"""One JSON call of a tool: made through the gate, and answered within the model's budget."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from agentd.bridge.gate import UnknownTool
from agentd.core.actions import Answer, Call
from agentd.core.events import ToolFinished, ToolStarted
from agentd.core.protocols import Happening
from agentd.core.tools import JSON, ToolResult
from agentd.patch.toolbox import Toolset

MAX_CHARACTERS = 20_000
_HEAD = 0.6
_REFUSED_SHOWN = 1000
_SMALL = 2_000


async def call_tool(
    toolset: Toolset, call: Call, takes: Callable[[str], bool], emit: Callable[[Happening], None]
) -> None:
    """Make a call and emit what happens, `Answer` last."""
    if call.problem:
        emit(ToolStarted(call.id, "", call.tool, ""))
        emit(ToolFinished(call.id, False, call.problem[:_REFUSED_SHOWN], 0.0))
        emit(Answer(call.id, False, call.problem))
        return
    door = toolset.gate.door("", emit)
    try:
        result = await door.acall(call.tool, call.arguments, call.id)
    except UnknownTool as error:
        result = ToolResult(False, str(error))
    finally:
        door.close()
    # To encode 50 MB, or to write them to a file, would hold up all other calls.
    small = _is_small(result.value)
    text = _told(result, toolset.save) if small else await asyncio.to_thread(_told, result, toolset.save)
    media = tuple(media for media in result.media if takes(media.kind))
    emit(Answer(call.id, result.ok, text, media))


def _is_small(value: JSON) -> bool:
    """Tell whether a thread would cost more than to encode this value."""
    size, parts = 0, [value]
    for part in parts:
        size += len(part) if isinstance(part, str | list | dict) else 1
        if size > _SMALL:
            return False
        if isinstance(part, dict):
            parts += part
            parts += part.values()
        elif isinstance(part, list):
            parts += part
    return True


def _told(result: ToolResult, save: Callable[[str, bytes], str]) -> str:
    text = _text(result.value)
    whole = text if result.ok else f"Error: {text}"
    if len(whole) <= MAX_CHARACTERS:
        return whole
    suffix = ".txt" if isinstance(result.value, str) else ".json"
    try:
        place = f"the whole is in {save(suffix, text.encode(errors='replace'))}"
    except OSError as error:
        place = f"the whole could not be saved: {error}"
    head = int(MAX_CHARACTERS * _HEAD)
    tail = MAX_CHARACTERS - head
    return f"{whole[:head]}\n[… {len(whole) - MAX_CHARACTERS} characters left out; {place} …]\n{whole[-tail:]}"


def _text(value: JSON) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    except (ValueError, RecursionError) as error:
        return f"a value that is not JSON: {error}"
