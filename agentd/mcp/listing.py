"""Mends what servers answer before the SDK validates it as a whole, so that one bad tool does not hide the others."""

from __future__ import annotations

import logging
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Self, cast

import mcp_types as types
from mcp.client._transport import ReadStream, Transport, TransportStreams  # what its public functions take and give
from mcp.shared.message import SessionMessage

_log = logging.getLogger("agentd.mcp")
_Item = SessionMessage | Exception


class MendedTransport(AbstractAsyncContextManager[TransportStreams]):
    """`transport`, with the tools of every listing that comes through it mended."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> TransportStreams:
        reading, writing = await self._stack.enter_async_context(self._transport)
        return _MendedStream(reading), writing

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stack.__aexit__(kind, error, trace)


class _MendedStream:
    def __init__(self, inner: ReadStream[_Item]) -> None:
        self._inner = inner

    @property
    def last_context(self) -> object:
        return getattr(self._inner, "last_context", None)

    async def receive(self) -> _Item:
        return mend(await self._inner.receive())

    async def aclose(self) -> None:
        await self._inner.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> _Item:
        return mend(await self._inner.__anext__())

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> bool | None:
        return await self._inner.__aexit__(exc_type, exc_val, exc_tb)


def mend(item: _Item) -> _Item:
    """Mend an answer in place: one that says nothing else is complete, as the specification has it.

    Of an answer to `tools/list` the schemas are fixed, and what is no tool at all is dropped.
    """
    if isinstance(item, Exception) or not isinstance(item.message, types.JSONRPCResponse):
        return item
    item.message.result.setdefault("resultType", "complete")
    tools = item.message.result.get("tools")
    if isinstance(tools, list):
        item.message.result["tools"] = [tool for tool in cast(list[object], tools) if _mend_tool(tool)]
    return item


def _mend_tool(tool: object) -> bool:
    if not isinstance(tool, dict):
        return False
    fields = cast(dict[str, object], tool)
    fields["inputSchema"] = _object_schema(fields.get("inputSchema"))
    if "outputSchema" in fields and not _is_object_schema(fields["outputSchema"]):
        del fields["outputSchema"]
    try:
        types.Tool.model_validate(fields, by_name=False)
    except ValueError:
        _log.warning("an MCP server lists something that is no tool: %.200r", fields.get("name"))
        return False
    return True


def _object_schema(schema: object) -> dict[str, object]:
    mended = dict(cast(dict[str, object], schema)) if isinstance(schema, dict) else {}
    mended["type"] = "object"
    if not isinstance(mended.get("properties", {}), dict):
        del mended["properties"]
    required = mended.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in cast(list[object], required)):
        del mended["required"]
    return mended


def _is_object_schema(schema: object) -> bool:
    return isinstance(schema, dict) and cast(dict[str, object], schema) == _object_schema(cast(object, schema))
