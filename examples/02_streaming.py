"""Text, code and its output as they come. A block starts when it is complete, not when the whole message is."""

from __future__ import annotations

from model import connection
from openai import OpenAI

from agentd import CodeExecution, CodeOutput, CodeStarted, TextDelta, TurnEnd, display_events, patch_openai_with_ptc


def main() -> None:
    client = patch_openai_with_ptc(OpenAI(**connection(SCRIPT)), cwd="workspace")
    stream = client.responses.create(model="gpt-5-mini", input="Count to three, slowly.", stream=True)
    for event in display_events(stream):
        match event:  # or by `event.type`: "text_delta", "code_started", …
            case TextDelta():
                print(event.text, end="", flush=True)
            case CodeStarted():
                print(f"\n[{event.kind}]\n{event.code}\n[output]")
            case CodeOutput():
                print(event.text, end="", flush=True)
            case CodeExecution():
                print(f"[{event.status}, exit code {event.exit_code}]\n")
            case TurnEnd():
                print(f"\n[{event.status}: {event.input_tokens} tokens in, {event.output_tokens} out]")
            case _:
                pass  # there may be more types in the next release


CODE = 'for n in 1 2 3; do echo "$n"; sleep 0.3; done'
SCRIPT = [f"Slowly, then.\n\n```bash:execute\n{CODE}\n```\n", "That was three."]

if __name__ == "__main__":
    main()
