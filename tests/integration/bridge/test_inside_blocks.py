"""`curl` and Node call tools from inside a block of code."""

from __future__ import annotations

import asyncio
import json

import pytest

from agentd.core.events import ToolFinished, ToolStarted
from tests.integration.bridge.workshop import BODY_LIMIT, Session

# Every block starts with this: `call NAME JSON [OPTIONS]` prints the answer, `status …` its HTTP status.
CURL = """
where() { case ${over:-tcp} in tcp) echo "$AGENTD_BRIDGE_URL";; *) echo http://localhost;; esac; }
request() {
    [ "${over:-tcp}" = tcp ] || set -- --unix-socket "$AGENTD_BRIDGE_SOCKET" "$@"
    curl -sS -m 30 "$@"
}
key="Authorization: Bearer $AGENTD_BRIDGE_TOKEN"
call() { name=$1 body=$2; shift 2; request -H "$key" --json "$body" "$@" "$(where)/call/$name"; }
status() { request -o /dev/null -w '%{http_code} ' "$@"; }
"""
SOCKETS = pytest.mark.parametrize("over", ["tcp", "unix"])
FETCH = """
const {AGENTD_BRIDGE_URL: url, AGENTD_BRIDGE_TOKEN: token} = process.env;
const headers = {authorization: `Bearer ${token}`, "content-type": "application/json"};
const call = async (tool, body) =>
  (await fetch(`${url}/call/${tool}`, {method: "POST", headers, body: JSON.stringify(body)})).json();
"""
OVER_UNIX = """
const http = require("http");
const {AGENTD_BRIDGE_SOCKET: socketPath, AGENTD_BRIDGE_TOKEN: token} = process.env;
const headers = {authorization: `Bearer ${token}`, "content-type": "application/json"};
const call = (tool, body) => new Promise((resolve, reject) => {
  const options = {socketPath, path: `/call/${tool}`, method: "POST", headers};
  const request = http.request(options, response => {
    let text = "";
    response.setEncoding("utf8");
    response.on("data", part => text += part);
    response.on("end", () => resolve(JSON.parse(text)));
  });
  request.on("error", reject);
  request.end(JSON.stringify(body));
});
"""
NODE = pytest.mark.parametrize("client", [FETCH, OVER_UNIX], ids=["fetch", "unix socket"])


def node(client: str, code: str) -> str:
    return f"cat > client.js <<'EOF'\n{client}(async () => {{{code}}})();\nEOF\nnode client.js\n"


@SOCKETS
async def test_curl_calls_tools_of_both_kinds(inside: Session, over: str) -> None:
    calls = """ call add '{"a": 40}'; echo; call echo '{"text": "grüße, 世界"}'"""
    own, remote = (await inside.out(f"{CURL}\nover={over};{calls}")).splitlines()
    assert json.loads(own) == {"ok": True, "value": 42}
    assert json.loads(remote) == {"ok": True, "value": "grüße, 世界"}
    assert inside.workshop.calls == ["add", "echo"]
    assert {event.block for event in inside.workshop.events if isinstance(event, ToolStarted)} == {"block1"}
    assert [event.ok for event in inside.workshop.ends] == [True, True]


@SOCKETS
async def test_curl_lists_what_there_is(inside: Session, over: str) -> None:
    listing = await inside.json(f'{CURL}\nover={over}; request -H "$key" $(where)/tools | tee tools.json')
    assert isinstance(listing, dict)
    tools = {tool["name"]: tool for tool in listing["tools"]}
    assert list(tools) == ["add", "fail", "wait", "echo", "big", "no_luck"]
    assert tools["add"]["description"] == "Add two numbers."
    assert tools["add"]["input_schema"]["properties"]["a"]["type"] == "integer"
    assert tools["add"]["input_schema"]["required"] == ["a"]
    assert tools["echo"]["description"] == "It does echo." and tools["echo"]["server"]


@SOCKETS
async def test_failures_are_answers(inside: Session, over: str) -> None:
    calls = """
    over=OVER
    call fail '{}'; echo; call no_luck '{}'; echo; call add '{"b": 1}'; echo; call ad '{}'; echo
    status -H "$key" --json '{}' "$(where)/call/ad"
    """
    own, remote, wrong, unknown, status = (await inside.out(CURL + calls.replace("OVER", over))).splitlines()
    assert json.loads(own) == {"ok": False, "error": "ValueError: it is broken, ünd how"}
    assert json.loads(remote) == {"ok": False, "error": "no such thing"}
    assert json.loads(wrong)["ok"] is False and "a" in json.loads(wrong)["error"]
    assert "did you mean add?" in json.loads(unknown)["error"] and status == "404 "


@SOCKETS
async def test_a_large_result_comes_whole(inside: Session, over: str) -> None:
    code = f"{CURL}\nover={over}; call big '{{\"size\": 6000000}}' | tr -d x | wc -c"
    assert int(await inside.out(code)) == len('{"ok": true, "value": ""}')


@NODE
async def test_node(inside: Session, client: str) -> None:
    code = """
    const sums = await Promise.all([...Array(100).keys()].map(n => call("add", {a: n, b: 1})));
    const big = await call("big", {size: 3000000});
    console.log(JSON.stringify({sums: sums.map(answer => answer.value), big: big.value.length,
                                failed: await call("no_luck", {}), text: (await call("echo", {text: "ü"})).value}));
    """
    found = await inside.json(node(client, code))
    failed = {"ok": False, "error": "no such thing"}
    assert found == {"sums": list(range(1, 101)), "big": 3000000, "failed": failed, "text": "ü"}
    assert len(inside.workshop.ends) == 103


async def test_who_is_refused(inside: Session) -> None:
    code = f"""{CURL}
    add="$AGENTD_BRIDGE_URL/call/add"
    status --json '{{"a": 1}}' $add
    status --json '{{"a": 1}}' -H 'Authorization: Bearer 0000' $add
    status --json '{{"a": 1}}' -H "$key" -H 'Host: evil.example' $add
    status --json '{{"a": 1}}' -H "$key" --resolve "evil.example:${{AGENTD_BRIDGE_URL##*:}}:127.0.0.1" \\
        "http://evil.example:${{AGENTD_BRIDGE_URL##*:}}/call/add"
    status --json '{{"a": 1}}' -H "$key" -H 'Origin: http://localhost' $add
    status --json '{{"a": 1}}' -H "$key" -H 'Origin: null' --unix-socket "$AGENTD_BRIDGE_SOCKET" http://localhost/call/add
    status -d a=1 -H "$key" $add
    head -c {BODY_LIMIT + 1} /dev/zero | tr '\\0' ' ' > large
    status --json @large -H "$key" $add
    status --json @large -H "$key" -H 'Transfer-Encoding: chunked' $add
    """
    assert (await inside.out(code)).split() == ["401", "401", "421", "421", "403", "403", "415", "413", "413"]
    assert inside.workshop.events == []


async def test_a_token_ends_with_its_block(inside: Session) -> None:
    await inside.out(f'{CURL}\necho "$AGENTD_BRIDGE_TOKEN" > kept; status -H "$key" $(where)/health')
    later = await inside.out(f'{CURL}\nstatus -H "Authorization: Bearer $(cat kept)" $(where)/health')
    assert later == "401 "


async def test_a_killed_client_takes_its_call_with_it(inside: Session) -> None:
    code = """
    curl -sS -H "$key" --json '{}' "$AGENTD_BRIDGE_URL/call/wait" &
    while [ ! -e enough ]; do sleep 0.05; done
    kill -9 $!; wait; sleep 30
    """
    block = asyncio.create_task(inside.block(CURL + code))
    await inside.workshop.waiting.until(1)
    (inside.workspace / "enough").touch()
    await inside.workshop.waiting.until(0)
    assert not block.done()
    (end,) = inside.workshop.ends
    assert not end.ok and "nobody waits" in end.result
    block.cancel()
    await asyncio.gather(block, return_exceptions=True)


async def test_what_a_block_leaves_behind_is_cancelled(inside: Session) -> None:
    block = asyncio.create_task(inside.block(f"{CURL}\ncall wait '{{}}' & while [ ! -e enough ]; do sleep 0.05; done"))
    await inside.workshop.waiting.until(1)
    (inside.workspace / "enough").touch()
    await block
    await inside.workshop.waiting.until(0)
    assert [type(event) for event in inside.workshop.events] == [ToolStarted, ToolFinished]


async def test_a_slow_client_is_answered_and_stops_nobody(inside: Session) -> None:
    code = """
    const net = require("net");
    const slow = net.connect({path: process.env.AGENTD_BRIDGE_SOCKET});
    slow.write("POST /call/add HTTP/1.1\\r\\nHost: localhost\\r\\nAuthorization: Bearer " + token + "\\r\\n" +
               "Content-Type: application/json\\r\\nContent-Length: 1000\\r\\n\\r\\n{");
    const trickle = setInterval(() => slow.write(" "), 100);
    const others = await Promise.all([...Array(20).keys()].map(n => call("add", {a: n, b: 0})));
    slow.once("data", answer => {
      console.log(JSON.stringify({status: String(answer).slice(9, 12), others: others.length}));
      process.exit();
    });
    """
    assert await inside.json(node(OVER_UNIX, code)) == {"status": "408", "others": 20}
    assert inside.workshop.calls == ["add"] * 20


async def test_one_that_reads_slowly_stops_nobody(inside: Session) -> None:
    code = """
    call big '{"size": 8000000}' --limit-rate 10M -o slow & for i in 1 2 3; do call add "{\\"a\\": $i}"; done
    wait; echo; tr -d x < slow
    """
    sums, rest = (await inside.out(CURL + code)).splitlines()
    assert sums.count('"ok": true') == 3 and json.loads(rest) == {"ok": True, "value": ""}
