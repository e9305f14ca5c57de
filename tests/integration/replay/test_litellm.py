from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# In a process of its own: LiteLLM takes seconds and 200 MB to load, and changes the environment when it does.
SCRIPT = """
import asyncio, sys, warnings
warnings.simplefilter("ignore")
import litellm
from agentd.llm.replay import replay
from agentd.llm.scripted import ScriptedModel
ask = {"messages": [{"role": "user", "content": "Hi"}], "api_key": "sk-0123456789abcdefghij"}

async def dialogue(url):
    ask["api_base"] = url
    said = [litellm.completion(model="openai/m", **ask).choices[0].message.content]
    # This provider goes through LiteLLM's own HTTP clients, the asynchronous one on aiohttp, not the OpenAI SDK.
    said.append(litellm.completion(model="hosted_vllm/m", **ask).choices[0].message.content)
    said.append((await litellm.acompletion(model="hosted_vllm/m", **ask)).choices[0].message.content)
    stream = await litellm.acompletion(model="hosted_vllm/m", stream=True, **ask)
    said.append("".join([chunk.choices[0].delta.content or "" async for chunk in stream]))
    return said

async def main():
    with ScriptedModel(["one", "two", "three", "four"]) as server, replay(sys.argv[1]):
        print(await dialogue(server.base_url), len(server.requests))
    with replay(sys.argv[1], mode="replay"):
        print(await dialogue(server.base_url))

asyncio.run(main())
"""


def test_litellm_over_the_sdk_and_over_its_own_clients(tmp_path: Path) -> None:
    env = {**os.environ, "LITELLM_MODE": "PRODUCTION", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "litellm.yaml")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=55, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    said = "['one', 'two', 'three', 'four']"
    assert done.stdout.splitlines()[-2:] == [f"{said} 4", said]
