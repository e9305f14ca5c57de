"""A request of the Responses API as one of Chat Completions, for providers that have only the latter.

What cannot be said there is refused with its name; nothing is left out that would change the answer.
"""

from __future__ import annotations

import base64
import binascii
import json

from agentd.core.errors import OptionError
from agentd.core.tools import JSON

Frame = dict[str, JSON]
SEALED = "agentd-thinking:"
_SAME = (
    "frequency_penalty",
    "logit_bias",
    "metadata",
    "parallel_tool_calls",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "temperature",
    "top_logprobs",
    "top_p",
    "user",
)
_TRANSLATED = ("include", "input", "instructions", "max_output_tokens", "reasoning", "text", "tool_choice", "tools")
# With these values they ask for nothing.
_IDLE: dict[str, tuple[JSON, ...]] = {
    "background": (None, False),
    "context_management": (None,),
    "conversation": (None,),
    "max_tool_calls": (None,),
    "previous_response_id": (None,),
    "prompt": (None,),
    "truncation": (None, "disabled"),
}
_NOT_NEEDED = ("model", "stream", "stream_options")
_HERE = "this provider is asked through its chat API"


def chat_request(body: Frame) -> Frame:
    """Return the chat request that asks for the same; raises `OptionError` for what has no counterpart."""
    for name, idle in _IDLE.items():
        if name in body and body[name] not in idle:
            raise OptionError(f"{name}={body[name]!r} cannot be used: {_HERE}, which keeps and changes no transcript")
    known = (*_SAME, *_TRANSLATED, *_IDLE, *_NOT_NEEDED)
    request: Frame = {name: value for name, value in body.items() if name not in known and value is not None}
    request |= {name: body[name] for name in _SAME if body.get(name) is not None}
    request["messages"] = Messages(body.get("instructions")).of(body.get("input"))
    if body.get("max_output_tokens") is not None:
        request["max_tokens"] = body["max_output_tokens"]
    _put_text(request, body.get("text"))
    _put_reasoning(request, body.get("reasoning"))
    _put_included(request, body.get("include"))
    tools = body.get("tools")
    if isinstance(tools, list) and tools:
        request["tools"] = [_tool(tool) for tool in tools]
        if body.get("tool_choice") is not None:
            request["tool_choice"] = _choice(body["tool_choice"])
    else:
        request.pop("parallel_tool_calls", None)
    return request


class Messages:
    """Builds the messages of a chat request out of items: what one answer was made of becomes one message again."""

    def __init__(self, instructions: JSON) -> None:
        self._messages: list[JSON] = []
        self._thinking: list[JSON] = []
        self._answer: Frame | None = None
        if isinstance(instructions, str) and instructions:
            self._messages.append({"role": "system", "content": instructions})
        elif isinstance(instructions, list):
            self.of(instructions)

    def of(self, given: JSON) -> list[JSON]:
        """Add what the input says and return all messages."""
        items: list[JSON] = given if isinstance(given, list) else [{"role": "user", "content": given}]
        for item in items if given is not None else ():
            if not isinstance(item, dict):
                raise OptionError(f"an input item is not an object: {item!r}")
            self._add(item)
        return self._messages

    def _add(self, item: Frame) -> None:
        kind = item.get("type") or ("message" if "role" in item else None)
        if kind == "message":
            self._say(item)
        elif kind == "function_call":
            call: JSON = {
                "id": item.get("call_id"),
                "type": "function",
                "function": {"name": item.get("name"), "arguments": item.get("arguments") or "{}"},
            }
            calls = self._assistant().setdefault("tool_calls", [])
            if isinstance(calls, list):
                calls.append(call)
        elif kind == "function_call_output":
            self._answer = None
            output = _content(item.get("output"), "tool")
            self._messages.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": output})
        elif kind == "reasoning":
            self._answer = None
            self._thinking += unsealed(item.get("encrypted_content"))
        else:
            raise OptionError(f"an input item of type {kind!r} cannot be used: {_HERE}")

    def _say(self, item: Frame) -> None:
        role = str(item.get("role"))
        content = _content(item.get("content"), role)
        if role != "assistant":
            self._answer, self._thinking = None, []
            self._messages.append({"role": "system" if role == "developer" else role, "content": content})
            return
        if self._answer is not None and (self._answer.get("content") is not None or "tool_calls" in self._answer):
            self._answer = None
        self._assistant()["content"] = content

    def _assistant(self) -> Frame:
        """Return the assistant's message that is being put together."""
        if self._answer is None:
            self._answer = {"role": "assistant", "content": None}
            if self._thinking:
                self._answer["thinking_blocks"] = self._thinking
                self._thinking = []
            self._messages.append(self._answer)
        return self._answer


def _content(given: JSON, role: str) -> JSON:
    """Return text as text; a list of parts as parts, or as text where it is nothing else."""
    if not isinstance(given, list):
        return given if isinstance(given, str) else ("" if given is None else json.dumps(given))
    parts = [_part(part) for part in given]
    if all(part["type"] == "text" for part in parts) and (role in ("assistant", "tool") or len(parts) == 1):
        return "".join(str(part["text"]) for part in parts)
    return parts  # pyright: ignore[reportReturnType]


def _part(part: JSON) -> Frame:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(part, dict):
        raise OptionError(f"a part of a message is not an object: {part!r}")
    if kind in ("input_text", "output_text", "text", "refusal"):
        return {"type": "text", "text": part.get("refusal" if kind == "refusal" else "text") or ""}
    if kind == "input_image" and part.get("image_url"):
        image: Frame = {"url": part["image_url"]}
        if part.get("detail"):
            image["detail"] = part["detail"]
        return {"type": "image_url", "image_url": image}
    if kind == "input_audio":
        return {"type": "input_audio", "input_audio": part.get("input_audio")}
    if kind == "input_file":
        names = {"file_data": "file_data", "filename": "filename", "file_id": "file_id", "file_url": "file_id"}
        file: Frame = {there: part[here] for here, there in names.items() if part.get(here)}
        return {"type": "file", "file": file}
    raise OptionError(f"a part of type {kind!r} cannot be used in a message: {_HERE}")


def _tool(tool: JSON) -> JSON:
    if not isinstance(tool, dict) or tool.get("type") != "function":
        kind = tool.get("type") if isinstance(tool, dict) else tool
        raise OptionError(f"the tool {kind!r} is run by OpenAI's servers only: {_HERE}")
    names = ("name", "description", "parameters", "strict")
    return {"type": "function", "function": {name: tool[name] for name in names if tool.get(name) is not None}}


def _choice(given: JSON) -> JSON:
    if isinstance(given, str):
        return given
    if isinstance(given, dict) and given.get("type") == "function":
        return {"type": "function", "function": {"name": given.get("name")}}
    raise OptionError(f"tool_choice={given!r} cannot be used: {_HERE}")


def _put_text(request: Frame, given: JSON) -> None:
    text = given if isinstance(given, dict) else {}
    if text.get("verbosity") is not None:
        request["verbosity"] = text["verbosity"]
    form = text.get("format")
    if not isinstance(form, dict) or form.get("type") == "text":
        return
    if form.get("type") == "json_schema":
        names = ("name", "description", "schema", "strict")
        schema: Frame = {name: form[name] for name in names if form.get(name) is not None}
        request["response_format"] = {"type": "json_schema", "json_schema": schema}
    else:
        request["response_format"] = dict(form)


def _put_reasoning(request: Frame, given: JSON) -> None:
    """Ask for as much reasoning; how it is summed up is the provider's own affair."""
    if isinstance(given, dict) and given.get("effort") is not None:
        request["reasoning_effort"] = given["effort"]


def _put_included(request: Frame, given: JSON) -> None:
    for name in given if isinstance(given, list) else []:
        if name == "message.output_text.logprobs":
            request["logprobs"] = True
        elif name != "reasoning.encrypted_content":
            raise OptionError(f"include={name!r} cannot be used: {_HERE}")


def sealed(thinking: list[JSON]) -> str:
    """Return what a provider wants back of its reasoning as the encrypted content of an item."""
    return SEALED + base64.b64encode(json.dumps(thinking).encode()).decode()


def unsealed(content: JSON) -> list[JSON]:
    """Return what `sealed` was given; nothing for what another provider has sealed."""
    if not isinstance(content, str) or not content.startswith(SEALED):
        return []
    try:
        blocks = json.loads(base64.b64decode(content[len(SEALED) :], validate=True))
    except (binascii.Error, ValueError) as error:
        raise OptionError("the encrypted_content of a reasoning item has been changed") from error
    return blocks if isinstance(blocks, list) else []  # pyright: ignore[reportUnknownVariableType]
