"""What the model may call as JSON in one turn: the tools of servers and functions, or the shell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set

from agentd.core.actions import Action, Call, Kind
from agentd.core.tools import JSON, Schema, ToolSpec
from agentd.loop.wire import Definition
from agentd.tools.arguments import Problem, read_arguments
from agentd.tools.offers import Offer, Offers, offers

_SECONDS: Schema = {"type": "number", "description": "how many seconds it may run"}
_BASH: Schema = {
    "type": "object",
    "properties": {"command": {"type": "string", "description": "a bash script"}, "timeout": _SECONDS},
    "required": ["command"],
}
_PYTHON: Schema = {
    "type": "object",
    "properties": {
        "code": {"type": "string", "description": "Python code; print what you want to see"},
        "timeout": _SECONDS,
    },
    "required": ["code"],
}
MAX_NAMED = 15
SHELL = {
    "bash": ToolSpec("bash", "Run a bash script; cd and export last until the next call.", _BASH),
    "python": ToolSpec("python", "Run Python code in a fresh interpreter.", _PYTHON),
}


class OfferedTools:
    """Tools as JSON calls. A name that is neither theirs nor one of the caller's own is answered, not passed on."""

    def __init__(self, offered: Offers, callers: Set[str], *, inline: bool, knows_all: bool) -> None:
        self._offers = offered
        self._callers = callers
        self._knows_all = knows_all
        self.media_in_results = inline
        self.definitions: Sequence[Definition] = [
            Definition(offer.name, offer.description, offer.parameters, offer.strict) for offer in offered
        ]

    def owns(self, name: str) -> bool:
        if name in self._callers:
            return False
        return self._knows_all or self._offers.find(name) is not None

    def server(self, name: str) -> str:
        offer = self._offers.find(name)
        return offer.spec.server if offer is not None else ""

    def action(self, block: str, name: str, arguments: str) -> Action | Call:
        offer = self._offers.find(name)
        if offer is None:
            return Call(block, name, {}, self._advice(name))
        read = read_arguments(arguments, offer)
        if isinstance(read, Problem):
            return Call(block, offer.key, {}, read.text)
        return self._made(block, offer, read)

    def _made(self, block: str, offer: Offer, arguments: dict[str, JSON]) -> Action | Call:
        return Call(block, offer.key, arguments)

    def _advice(self, name: str) -> str:
        import difflib

        names = [offer.name for offer in self._offers]
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        return (
            f"no tool is called {name[:100]!r}; {'perhaps' if near else 'there are'}: {', '.join(near or names[:20])}"
        )


class OfferedShell(OfferedTools):
    """`bash` and `python` as JSON calls, run by the executor."""

    def _made(self, block: str, offer: Offer, arguments: dict[str, JSON]) -> Action | Call:
        kind = Kind(offer.key)
        code = str(arguments["command" if kind is Kind.BASH else "code"])
        timeout = arguments.get("timeout")
        if isinstance(timeout, int | float) and not 0 < timeout <= 86_400:
            return Call(block, offer.key, {}, f"timeout={timeout} is not a number of seconds between 0 and 86400")
        seconds = float(timeout) if isinstance(timeout, int | float) else None
        return Action(block, kind, code if code.endswith("\n") else code + "\n", timeout=seconds)


def callers_names(body: Mapping[str, JSON]) -> frozenset[str]:
    """Return the names of the functions that a request brings itself: also in namespaces, and found by a search."""
    names = set(_names(body.get("tools")))
    items = body.get("input")
    for item in items if isinstance(items, list) else []:
        if isinstance(item, dict) and item.get("type") in ("tool_search_output", "additional_tools"):
            names.update(_names(item.get("tools")))
    return frozenset(names)


def _names(tools: JSON) -> Iterator[str]:
    for tool in tools if isinstance(tools, list) else []:
        if isinstance(tool, dict):
            inner = tool.get(str(tool.get("type")))
            name = (inner if isinstance(inner, dict) else tool).get("name")
            if isinstance(name, str):
                yield name
            yield from _names(tool.get("tools"))


class Toolkits:
    """The toolkits of a client's calls; a tool keeps its name from call to call, whatever tools come and go."""

    def __init__(self, *, shell: bool) -> None:
        self._shell = shell
        self._named: dict[tuple[str, frozenset[str]], Offers] = {}

    def make(self, specs: Mapping[str, ToolSpec], flavour: str, body: Mapping[str, JSON]) -> OfferedTools:
        """Return what the model may call as JSON, in the form of its provider, beside the caller's own functions."""
        callers = callers_names(body)
        named = flavour, callers
        if named not in self._named and len(self._named) > MAX_NAMED:
            self._named.clear()
        offered = self._named[named] = offers(SHELL if self._shell else specs, flavour, callers, self._named.get(named))
        kind = OfferedShell if self._shell else OfferedTools
        # A stored prompt may bring functions of the caller's that we do not know.
        return kind(offered, callers, inline=flavour == "openai", knows_all="prompt" not in body)
