"""Programmatic tool calling in a virtual machine of its own, by microsandbox: `pip install './agentd[microsandbox]'`.

It takes a processor that lets machines run (VT-x, AMD-V). Where none can, this says so, and nothing runs elsewhere.
"""

from __future__ import annotations

from model import connection, found
from openai import OpenAI

from agentd import CodeExecution, TextDelta, create_microsandbox_cli_executor, display_events, patch_openai_with_ptc
from agentd.core.errors import ExecutorUnavailable


def main() -> None:
    client = OpenAI(**connection(SCRIPT))
    try:
        executor = create_microsandbox_cli_executor(conversation_id="s1", image="python", memory=1024, timeout=60)
    except ExecutorUnavailable as error:
        print(f"No virtual machine can run here, so no code was run.\n{error}")
        return
    with executor:
        patch_openai_with_ptc(client, cwd=str(executor.workspace_dir), executor=executor)
        stream = client.responses.create(model="gpt-5-mini", input="Which kernel is this, and whose?", stream=True)
        for event in display_events(stream):
            if isinstance(event, TextDelta):
                print(event.text, end="", flush=True)
            elif isinstance(event, CodeExecution):
                print(f"\n$ {event.code}\n{event.output}")


SCRIPT = [
    "I'll ask it.\n\n```bash:execute\nuname -sr\n```\n",
    lambda request: f"It is {found('(Linux [0-9.]+)', request)}, and the machine's own.\n",
]

if __name__ == "__main__":
    main()
