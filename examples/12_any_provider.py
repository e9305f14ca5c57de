"""Any provider, by the model's name: `MODEL=claude-sonnet-4-5 ANTHROPIC_API_KEY=…`, `MODEL=gemini/gemini-2.0-flash` …

Needs the extra `agentd[litellm]`. A provider's key comes from its own variable, the client's own is not used. A client
with an address of its own (`base_url`, OPENAI_BASE_URL) is asked for every model.
"""

from __future__ import annotations

import os

from model import connection, found
from openai import OpenAI

from agentd import patch_openai_with_mcp, patch_openai_with_ptc, tool
from agentd.llm import scripted


@tool
def square_root(number: float) -> float:
    """Return the square root of a number."""
    return number**0.5


def main() -> None:
    model = os.environ.get("MODEL") or provider()
    calling = patch_openai_with_mcp(OpenAI(api_key="unused"), cwd="workspace")
    completion = calling.chat.completions.create(model=model, messages=[{"role": "user", "content": "Root of 144?"}])
    print(completion.choices[0].message.content)

    coding = patch_openai_with_ptc(OpenAI(api_key="unused"), cwd="workspace")
    print(coding.responses.create(model=model, input="And the roots of 1 to 3?").output_text)


def provider() -> str:
    """Return a model of OpenAI's where there is a key for it, else put the scripted model in the place of a vLLM."""
    scripted_model = connection(SCRIPT)
    if "base_url" not in scripted_model:
        return "openai/gpt-5-mini"
    os.environ["HOSTED_VLLM_API_BASE"] = scripted_model["base_url"]
    return "hosted_vllm/scripted"


CODE = "print('roots', [round(square_root(number), 2) for number in (1, 2, 3)])"
SCRIPT = [
    scripted.Reply(tool_calls=[scripted.ToolCall("square_root", {"number": 144})]),
    lambda request: f"It is {request.last_text}.",
    f"```python:execute\n{CODE}\n```\n",
    lambda request: f"They are {found(r'roots (.+)', request)}.",
]

if __name__ == "__main__":
    main()
