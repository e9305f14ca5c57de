"""Sessions keep shells apart, `previous_response_id` keeps the conversation, and every call keeps its record."""

from __future__ import annotations

from typing import Any

from model import connection
from openai import OpenAI

from agentd import patch_openai_with_ptc, unpatch_openai
from agentd.core.events import CodeFinished, Event, to_json


def main() -> None:
    client = patch_openai_with_ptc(OpenAI(**connection(SCRIPT)), cwd="workspace", max_turns=5)

    # A dict, because the SDK's types do not know our options; `create(session="one", …)` does the same.
    one: dict[str, Any] = {"model": "gpt-5-mini", "session": "one", "on_event": watch}
    two: dict[str, Any] = {"model": "gpt-5-mini", "session": "two", "on_event": watch}
    first = client.responses.create(input="Export A.", **one)
    client.responses.create(input="What is A?", **two)
    again = client.responses.create(input="What is A now?", previous_response_id=first.id, **one)

    run: Any = again.agentd
    print(run.session, run.status, f"{run.model_calls} model calls")
    print(*sorted({event.type for event in run.events}))
    print(to_json(run.records[-1]))

    unpatch_openai(client)  # closes the processes; the end of the program would do so, too


def watch(event: Event) -> None:
    if isinstance(event, CodeFinished):
        print(f"{event.output.strip()!r}, exit code {event.exit_code}")


ECHO = '```bash:execute\necho "A is ${A:-not set}"\n```\n'
SCRIPT = ["```bash:execute\nexport A=7; echo done\n```\n", "I have.", ECHO, "It has no value.", ECHO, "It is 7."]

if __name__ == "__main__":
    main()
