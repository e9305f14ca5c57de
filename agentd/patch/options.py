"""What a call on a patched client may say beyond the SDK's own arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from agentd.core.errors import OptionError
from agentd.core.events import Event

# The options of a call travel to where the request is made under this key of its extra headers; they never leave the
# process.
CARRIER = "X-Agentd-Call"
_OWN = ("mcp_servers", "max_turns", "session", "on_event")


@dataclass(frozen=True)
class CallOptions:
    """The options of one call; `None` stands for what the client was patched with.

    `mcp_servers`: servers whose tools the code may call. `tools`: callables and tool objects. `max_turns`: calls of the
    model at most. `session`: a name; calls of one session share the shell's state and one event log. `on_event` sees
    every event as it happens; it must not raise. A `bare` call is one of our own, without any tools.
    """

    mcp_servers: Sequence[object] | None = None
    tools: Sequence[object] | None = None
    max_turns: int | None = None
    session: str | None = None
    on_event: Callable[[Event], object] | None = None
    bare: bool = False

    def __post_init__(self) -> None:
        _check_given(self.max_turns, self.session)
        if self.on_event is not None and not callable(self.on_event):
            raise OptionError("on_event must be a function of one event")
        if isinstance(self.mcp_servers, str | Mapping):
            raise OptionError("mcp_servers must be a list of servers")


def _check_given(max_turns: object, session: object) -> None:
    """Callers are not all type-checked."""
    if max_turns is not None and (not isinstance(max_turns, int) or max_turns is True or max_turns < 1):
        raise OptionError(f"max_turns must be a whole number from 1, not {max_turns!r}")
    if session is not None and (not isinstance(session, str) or not session):
        raise OptionError(f"session must be a name, not {session!r}")


NO_OPTIONS = CallOptions()


def carry(arguments: dict[str, Any]) -> dict[str, Any]:
    """Take our options out of the arguments of `create`, `parse` or `stream` and let their headers carry them.

    The caller's own tools for the API are mappings; all else in `tools` is ours.
    """
    own = {name: arguments[name] for name in _OWN if name in arguments}
    given: object = arguments.get("tools")
    listed: list[object] = list(cast("list[object]", given)) if isinstance(given, list | tuple) else []
    functions = [tool for tool in listed if not isinstance(tool, Mapping)]
    if functions:
        own["tools"] = functions
    if not own:
        return arguments
    rest = {name: value for name, value in arguments.items() if name not in _OWN}
    if functions:
        rest["tools"] = [tool for tool in listed if isinstance(tool, Mapping)]
        if not rest["tools"]:
            del rest["tools"]
    rest["extra_headers"] = {**(rest.get("extra_headers") or {}), CARRIER: CallOptions(**own)}
    return rest


def deliver(options: dict[str, Any]) -> tuple[CallOptions, dict[str, Any]]:
    """Return the call's options and the request options without them."""
    headers = options.get("headers")
    if not headers or CARRIER not in headers:
        return NO_OPTIONS, options
    rest = {name: value for name, value in headers.items() if name != CARRIER}
    others = {name: value for name, value in options.items() if name != "headers"}
    return headers[CARRIER], {**others, "headers": rest} if rest else others
