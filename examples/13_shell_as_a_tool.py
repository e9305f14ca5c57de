"""Code as JSON calls of two tools, `bash` and `python`, instead of fenced blocks; it runs in the same way."""

from __future__ import annotations

from model import connection, found
from openai import OpenAI

from agentd import CodeExecution, TextDelta, display_events, patch_openai_with_ptc, tool
from agentd.llm.scripted import Reply, ToolCall


@tool
def translate(word: str) -> str:
    """Translate an English word into French."""
    return {"dog": "chien", "cat": "chat"}[word]


def main() -> None:
    client = patch_openai_with_ptc(OpenAI(**connection(SCRIPT)), mode="tool", cwd="workspace")
    stream = client.responses.create(model="gpt-5-mini", input="Put dog and cat in a file, in French.", stream=True)
    for event in display_events(stream):
        if isinstance(event, CodeExecution):
            print(f"[{event.kind}, {event.status}]\n{event.code}\n{event.output}")
        elif isinstance(event, TextDelta):
            print(event.text, end="")


PYTHON = "with open('french.txt', 'w') as file:\n    print(translate('dog'), translate('cat'), file=file)"
SCRIPT = [
    Reply(tool_calls=[ToolCall("python", {"code": PYTHON})]),
    Reply(tool_calls=[ToolCall("bash", {"command": "wc -w french.txt; cat french.txt"})]),
    lambda request: f"french.txt has them: {found(r'(chien.*)', request)}.\n",
]

if __name__ == "__main__":
    main()
