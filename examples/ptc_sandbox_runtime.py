"""Programmatic tool calling in Anthropic's sandbox-runtime: two domains may be reached, keys are not seen.

Needs srt and what it stands on: `npm install -g @anthropic-ai/sandbox-runtime@0.0.83`, bubblewrap, socat, ripgrep.
"""

from __future__ import annotations

import sys

from model import connection, found
from openai import OpenAI

from agentd import CodeExecution, TextDelta, create_sandbox_runtime_executor, display_events, patch_openai_with_ptc

PROMPT = "Try to read ~/.ssh, to fetch https://example.com/, and to write .env; then write notes.md."


def main() -> None:
    client = OpenAI(**connection(SCRIPT))
    executor = create_sandbox_runtime_executor(
        conversation_id="s1",
        timeout=60,
        allowed_domains=["github.com", "*.python.org"],
        denied_domains=[],
        allow_local_binding=False,
        deny_read=["~/.ssh", "~/.aws"],
        allow_write=None,
        deny_write=[".env"],
    )
    with executor:
        ok, message = executor.verify()
        print(message)
        if not ok:
            sys.exit(1)
        patch_openai_with_ptc(client, cwd=str(executor.workspace_dir), executor=executor)
        for event in display_events(client.responses.create(model="gpt-5-mini", input=PROMPT, stream=True)):
            if isinstance(event, TextDelta):
                print(event.text, end="", flush=True)
            elif isinstance(event, CodeExecution):
                print(event.output)


CODE = """
ls ~/.ssh
curl -sS https://example.com/
echo KEY=1 > .env
echo "written at $(date +%F)" | tee notes.md
"""
SCRIPT = [
    f"I'll try.\n\n```bash:execute{CODE}```\n",
    lambda request: f"None of that was possible, but notes.md was {found('(written at [0-9-]+)', request)}.\n",
]

if __name__ == "__main__":
    main()
