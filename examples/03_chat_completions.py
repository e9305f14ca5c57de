"""The same for Chat Completions, streamed and not. You keep the conversation, as always with this API."""

from __future__ import annotations

from model import connection, found
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

from agentd import CodeExecution, TextDelta, display_events, patch_openai_with_ptc


def main() -> None:
    client = patch_openai_with_ptc(OpenAI(**connection(SCRIPT)), cwd="workspace")
    messages: list[ChatCompletionMessageParam] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Which version of Python have you got?"},
    ]
    completion = client.chat.completions.create(model="gpt-5-mini", messages=messages)
    answer = completion.choices[0].message.content
    print(answer)

    messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": "And of bash?"}]
    stream = client.chat.completions.create(model="gpt-5-mini", messages=messages, stream=True)
    for event in display_events(stream):
        if isinstance(event, TextDelta):
            print(event.text, end="")
        elif isinstance(event, CodeExecution):
            print(f"\n$ {event.code}\n{event.output}")
    print()


SCRIPT = [
    "```python:execute\nimport platform\nprint(platform.python_version())\n```\n",
    lambda request: f"Python {found('(3[.].+)', request)}.",
    '```bash:execute\necho "version $BASH_VERSION"\n```\n',
    lambda request: f"Bash {found('version (.+)', request)}.",
]

if __name__ == "__main__":
    main()
