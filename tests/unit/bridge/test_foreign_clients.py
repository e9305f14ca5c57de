"""Clients that are not ours, over both sockets: what code in any language would use."""

from __future__ import annotations

import asyncio
import json
import shutil

import pytest

from tests.unit.bridge.driver import Bridge

FETCH = """
const [url, token] = process.argv.slice(1);
const headers = {authorization: `Bearer ${token}`, "content-type": "application/json"};
const call = (tool, body) => fetch(`${url}/call/${tool}`, {method: "POST", headers, body: JSON.stringify(body)});
const add = async n => (await (await call("add", {a: n, b: 1})).json()).value;
const sums = await Promise.all([...Array(50).keys()].map(add));
const refused = await fetch(`${url}/tools`);
console.log(JSON.stringify({sums, names: (await (await fetch(`${url}/tools`, {headers})).json()).tools.map(t => t.name),
                            refused: refused.status}));
"""
OVER_UNIX = """
const http = require("http");
const [socketPath, token] = process.argv.slice(1);
const headers = {authorization: `Bearer ${token}`, "content-type": "application/json"};
const request = http.request({socketPath, path: "/call/add", method: "POST", headers}, response => {
  response.setEncoding("utf8");
  response.on("data", text => process.stdout.write(text));
});
request.end(JSON.stringify({a: 40, b: 2}));
"""


async def run(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is missing: run `make system`")
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await asyncio.wait_for(process.communicate(), 40)
    assert (process.returncode, errors.decode()) == (0, "")
    return output.decode()


@pytest.mark.parametrize("unix", [False, True])
async def test_curl(bridge: Bridge, unix: bool) -> None:
    where = ["--unix-socket", bridge.server.socket_path, "http://localhost"] if unix else [bridge.server.url]
    where[-1] += "/call/add"
    key = ["-H", f"Authorization: Bearer {bridge.token}"]
    answer = await run("curl", "-sS", *where, *key, "--json", '{"a": 2, "b": 2}')
    assert json.loads(answer) == {"ok": True, "value": 4}
    form = await run("curl", "-sS", *where, *key, "-d", "a=2", "-o", "/dev/null", "-w", "%{http_code}")
    assert form == "415"


async def test_node_fetch(bridge: Bridge) -> None:
    found = json.loads(await run("node", "--input-type=module", "-e", FETCH, bridge.server.url, bridge.token))
    assert found == {"sums": list(range(1, 51)), "names": ["add", "sleep", "broken"], "refused": 401}


async def test_node_over_the_unix_socket(bridge: Bridge) -> None:
    answer = await run("node", "-e", OVER_UNIX, bridge.server.socket_path, bridge.token)
    assert json.loads(answer) == {"ok": True, "value": 42}
