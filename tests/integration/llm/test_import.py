"""What LiteLLM's import and use leave behind in a process: nothing. Each test looks at a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.messages_http import MessagesServer, Said

ROOT = Path(__file__).parents[3]

WHOLE = """
import asyncio, json, logging, os, socket, sys, threading, time, warnings
reached = []
connect, lookup = socket.socket.connect, socket.getaddrinfo
def watched(self, address):
    if isinstance(address, tuple) and address[0] != "127.0.0.1": reached.append(address)
    return connect(self, address)
def looked_up(host, *rest, **more):
    if host not in ("127.0.0.1", b"127.0.0.1", None): reached.append(host)
    return lookup(host, *rest, **more)
socket.socket.connect, socket.getaddrinfo = watched, looked_up

from openai import AsyncOpenAI, OpenAI
from agentd.core.protocols import ModelRequest
from agentd.llm.litellm import AsyncLiteLlm, SyncLiteLlm
from agentd.llm.openai import SdkCall
from agentd.llm.prices import Prices
from agentd.llm.routing import aroute, route

client, aclient = OpenAI(api_key="k"), AsyncOpenAI(api_key="k")
plain = ["gpt-5-mini", "ft:gpt-4o:org::id", "claude-sonnet-4-5", "gemini-2.5-flash", "", None, 7]
ways = [getattr(route(client, name), "name", None) for name in plain]
report = {"plain": ways, "light": "litellm" not in sys.modules}
before, handlers, level = dict(os.environ), list(logging.root.handlers), logging.root.level
other = threading.Event()
ticks = []

async def tick():
    while not other.is_set():
        ticks.append("litellm" in sys.modules)
        if len(ticks) == 2: os.environ["SET_MEANWHILE"] = "1"
        await asyncio.sleep(0.01)

def request(name, stream):
    body = {"model": name, "messages": [{"role": "user", "content": "hello"}]}
    return ModelRequest("chat", stream, json.dumps(body).encode())

async def ask(model, name, stream):
    reply = await model.send(request(name, stream))
    frames = [frame async for frame in reply]
    await reply.aclose()
    return frames

def change():
    # What another thread may do to the environment while LiteLLM is imported.
    number = 0
    while "litellm.main" not in sys.modules: time.sleep(0.001)  # it has read its list of models
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "OF_ANOTHER_THREAD"
    while not other.is_set():
        number += 1
        os.environ[f"CHANGED_{number % 50}"] = str(number)
        os.environ.pop(f"CHANGED_{(number + 25) % 50}", None)
        time.sleep(0.0005)
    report["changes"] = number
    for number in range(50): os.environ.pop(f"CHANGED_{number}", None)

async def main():
    ticking, changing = asyncio.create_task(tick()), threading.Thread(target=change)
    changing.start()
    ways = await asyncio.gather(*[aroute(aclient, "anthropic/claude-sonnet-4-5") for _ in range(8)])
    report["ways"], way = len({id(sys.modules["litellm"]), *map(repr, ways)}), ways[0]
    report["ticks"] = len(ticks)
    report["kept"] = os.environ.pop("LITELLM_LOCAL_MODEL_COST_MAP", None)
    other.set()
    await ticking
    changing.join()
    model = AsyncLiteLlm(SdkCall(aclient, None, "/chat/completions", {}, None, Prices()), way)
    report["frames"] = [len(await ask(model, way.asked, stream)) for stream in (False, True)]
    left = await model.send(request(way.asked, True))
    report["tasks"] = len(asyncio.all_tasks())
    return left

left = asyncio.run(main())
names = ["meta-llama/Llama-3-8B", "together_ai/meta-llama/Llama-3-8B", "openrouter/anthropic/claude", "azure/", "/x"]
report["known"] = [getattr(route(client, name), "name", None) for name in names]
own = OpenAI(api_key="k", base_url="http://127.0.0.1:9/v1")
report["own"] = [getattr(route(own, name), "name", None) for name in ("claude-sonnet-4-5", "anthropic/claude")]
# This header has LiteLLM look at a list that it would otherwise fetch.
options = {"headers": {"anthropic-beta": "context-1m-2025-08-07"}}
call = SdkCall(client, None, "/chat/completions", options, None, Prices())
blocking = SyncLiteLlm(call, route(client, "claude-sonnet-4-5"))
try:
    asking = ask(blocking, "claude-sonnet-4-5", True)
    asking.send(None)
except StopIteration as stop:
    report["frames"].append(len(stop.value))
meanwhile = os.environ.pop("SET_MEANWHILE", None)
report["meanwhile"] = meanwhile
report["environment"] = {name: os.environ.get(name) for name in os.environ.keys() ^ before.keys()}
report["same"] = dict(os.environ) == before
report["root"] = logging.root.handlers == handlers and logging.root.level == level
loggers = [logging.getLogger(name) for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy")]
report["handlers"] = sorted({type(handler).__name__ for logger in loggers for handler in logger.handlers})
report["reached"] = [str(address) for address in reached]
print(json.dumps(report))
"""

BROKEN = """
import json, os, sys
os.environ["LITELLM_MODE"] = "OF_THE_USER"
from agentd.core.errors import ProviderUnavailable
from agentd.llm.litellm_import import load
class Client: base_url = "https://api.openai.com/v1/"
before = dict(os.environ)
try:
    load("anthropic/claude")
except ProviderUnavailable as error:
    print(json.dumps({"told": str(error), "same": dict(os.environ) == before}))
"""


def run(code: str, *paths: Path, options: tuple[str, ...] = (), **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    path = os.pathsep.join(map(str, [*paths, ROOT]))
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        env={**kept, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_nothing_is_left_behind(messages: MessagesServer, isolated: Path) -> None:
    (isolated / ".env").write_text("FROM_THE_ENV_FILE=1\nANTHROPIC_API_KEY=key-of-the-file\n")
    messages.say(*[Said()] * 4)
    done = run(
        WHOLE,
        options=("-W", "error", "-W", "default::ResourceWarning"),
        ANTHROPIC_API_BASE=messages.url,
        ANTHROPIC_API_KEY="key-of-anthropic",
        TIKTOKEN_CACHE_DIR="/of/the/user",
    )
    report = told(done)
    assert done.stderr == ""
    assert report["light"]
    assert report["plain"] == [None, None, "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash", None, None, None]
    assert report["known"] == [None, "together_ai/meta-llama/Llama-3-8B", "openrouter/anthropic/claude", None, None]
    assert report["own"] == [None, None]
    assert report["ticks"] > 2
    assert report["ways"] == 2  # one LiteLLM, and one answer for all
    assert report["changes"] > 10
    assert report["kept"] == "OF_ANOTHER_THREAD"
    assert report["frames"][0] == 1
    assert report["frames"][1] == report["frames"][2] > 2
    assert report["tasks"] == 1
    assert report["same"]
    assert report["environment"] == {}
    assert report["meanwhile"] == "1"
    assert report["root"]
    assert report["handlers"] == ["NullHandler"]
    assert report["reached"] == []
    assert messages.asked[-1].headers["anthropic-beta"] == "context-1m-2025-08-07"
    assert {asked.headers["x-api-key"] for asked in messages.asked} == {"key-of-anthropic"}


def test_a_failing_import_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "litellm").mkdir()
    (tmp_path / "litellm" / "__init__.py").write_text(
        "import os\nos.environ['TIKTOKEN_CACHE_DIR'] = 'x'\nimport no_such\n"
    )
    report = told(run(BROKEN, tmp_path))
    assert report["same"]
    assert "no_such" in report["told"]
    assert "anthropic/claude" in report["told"]


@pytest.mark.parametrize(("version", "hint"), [("1.82.8", "install 1.106 or newer"), (None, "agentd[litellm]")])
def test_missing_or_too_old(tmp_path: Path, version: str | None, hint: str) -> None:
    """With `-S` no installed package is seen; what is found is what lies in the folder."""
    if version:
        info = tmp_path / f"litellm-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: litellm\nVersion: {version}\n")
    report = told(run(BROKEN, tmp_path, options=("-S",)))
    assert hint in report["told"]
    assert "anthropic/claude" in report["told"]
    assert report["same"]
