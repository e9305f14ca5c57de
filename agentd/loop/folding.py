"""Our own items in a caller's later input, turned back into what the model said and was told.

A patched Responses call shows the model's blocks as `code_interpreter_call` items, and its calls of our tools as
`mcp_call` items. No model API knows these; users send them back all the same (`input += response.output`).
"""

from __future__ import annotations

from collections.abc import Iterable

from agentd.core.actions import ActionResult
from agentd.core.tools import JSON
from agentd.loop.results import feedback, fence_for, told
from agentd.loop.wire import Block, Frame

CONTAINER = "agentd"
CALL = "mcp_agentd"
LOCAL = "local"


def code_item(block: Block) -> Frame:
    """Return the item that stands for a finished block in the caller's output."""
    result = block.result or ActionResult(1, "it never ran", 0.0, "refused")
    return {
        "type": "code_interpreter_call",
        "id": block.id,
        "code": block.code.removesuffix("\n"),
        "container_id": CONTAINER,
        "status": "completed" if result.exit_code == 0 and not result.reason else "failed",
        "outputs": [{"type": "logs", "logs": result.output}],
        "agentd": {
            "header": block.header,
            "markup": block.markup,
            "exit_code": result.exit_code,
            "duration": result.duration,
            "reason": result.reason,
            **({"call": block.called.item, "output": told(block)} if block.called else {}),
        },
    }


def call_item(block: Block, output: JSON) -> Frame:
    """Return the item that stands for a finished call of a tool; `output` is what the model is told."""
    assert block.called is not None and block.answer is not None
    ok = block.answer.ok
    return {
        "type": "mcp_call",
        "id": block.id,
        "name": block.called.name,
        "server_label": block.server or LOCAL,
        "arguments": block.called.arguments,
        "status": "completed" if ok else "failed",
        # The text of a failure, too: what `error` holds differs between the majors of the SDK.
        "output": block.answer.text,
        "error": None,
        "agentd": {"call": block.called.item, "output": output},
    }


def fold(items: Iterable[JSON]) -> list[JSON]:
    """Return the items with ours replaced; all others are the same objects in the same order."""
    folded: list[JSON] = []
    blocks: list[Block] = []
    calls: list[tuple[Frame, Frame]] = []
    for item in items:
        if isinstance(item, dict):
            if _is_call(item):
                _unfold(folded, blocks)
                calls.append(_call(item))
                continue
            if _is_code(item):
                _unfold_calls(folded, calls)
                blocks.append(_block(item))
                continue
            item = _uncut(item)
        _unfold(folded, blocks)
        _unfold_calls(folded, calls)
        folded.append(item)
    _unfold(folded, blocks)
    _unfold_calls(folded, calls)
    return folded


def _is_code(item: Frame) -> bool:
    return item.get("type") == "code_interpreter_call" and item.get("container_id") == CONTAINER


def _is_call(item: Frame) -> bool:
    """Tell whether an item stands for a JSON call that we have answered, of a tool or of code."""
    if _is_code(item):
        ours = item.get("agentd")
        return isinstance(ours, dict) and "call" in ours
    return item.get("type") == "mcp_call" and str(item.get("id")).startswith(CALL)


def _call(item: Frame) -> tuple[Frame, Frame]:
    """Return the model's call and its result."""
    ours = item.get("agentd")
    known = ours if isinstance(ours, dict) else {}
    call = known.get("call")
    if not isinstance(call, dict):
        name, arguments = item.get("name"), item.get("arguments")
        call = {"type": "function_call", "call_id": item.get("id"), "name": name, "arguments": arguments}
    output = known.get("output", item.get("output") or item.get("error") or "")
    return call, {"type": "function_call_output", "call_id": call.get("call_id"), "output": output}


def _unfold_calls(folded: list[JSON], calls: list[tuple[Frame, Frame]]) -> None:
    folded += [call for call, _ in calls]
    folded += [output for _, output in calls]
    calls.clear()


def _uncut(item: Frame) -> Frame:
    """Drop our mark, and the id that the API never stored, from a message that was cut."""
    if "agentd" not in item:
        return item
    return {name: value for name, value in item.items() if name not in ("agentd", "id", "status")}


def _block(item: Frame) -> Block:
    code = str(item.get("code") or "")
    outputs = item.get("outputs")
    parts = outputs if isinstance(outputs, list) else []
    logs = "".join(str(part.get("logs", "")) for part in parts if isinstance(part, dict))
    ours = item.get("agentd")
    known = ours if isinstance(ours, dict) else {"exit_code": 1 if item.get("status") == "failed" else 0}
    header = str(known.get("header") or "bash:execute")
    fence = fence_for(code)
    markup = str(known.get("markup") or f"{fence}{header}\n{code}\n{fence}\n")
    exit_code, duration = known.get("exit_code"), known.get("duration")
    result = ActionResult(
        exit_code if isinstance(exit_code, int) else 0,
        logs,
        duration if isinstance(duration, int | float) else 0.0,
        str(known.get("reason") or ""),
    )
    return Block(str(item.get("id")), header, code, markup, result)


def _unfold(folded: list[JSON], run: list[Block]) -> None:
    if not run:
        return
    markup = "".join(block.markup if block.markup.endswith("\n") else block.markup + "\n" for block in run)
    last = folded[-1] if folded else None
    if isinstance(last, dict) and last.get("role") == "assistant":
        folded[-1] = with_text(last, markup)
    else:
        folded.append({"role": "assistant", "content": markup})
    folded.append({"role": "user", "content": feedback(run)})
    run.clear()


def with_text(message: Frame, more: str) -> Frame:
    """Return a copy of an assistant message with text added at its end."""
    content = message.get("content")
    if isinstance(content, str):
        return {**message, "content": content + more}
    parts = list(content) if isinstance(content, list) else []
    last = parts[-1] if parts else None
    if isinstance(last, dict) and last.get("type") == "output_text":
        parts[-1] = {**last, "text": str(last.get("text") or "") + more}
    else:
        parts.append({"type": "output_text", "text": more, "annotations": []})
    return {**message, "content": parts}
