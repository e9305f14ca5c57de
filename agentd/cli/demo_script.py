"""The tasks of the demo, and what the scripted model answers to them."""

from __future__ import annotations

import json
import re

from agentd.llm.scripted import Reply, Request, ToolCall, Turn

REPORT = "report.md"
PROMPT = (
    "First look with bash at what is in the workspace. Then use Python and the tools in scope: take the prices of all "
    "items of the shop, sum them up, and add the tax with add_vat. Write the result as a short Markdown table into "
    f"{REPORT} with a create block, show that file with bash, and finish with one sentence."
)
CALLS_PROMPT = (
    "What are the dearest and the cheapest thing in the shop? List the items with the tools that you have, ask for all "
    "prices at once, in one message, and answer in one sentence."
)

ALLOWED = "github.com"
VERDICT = "sandbox.md"
SANDBOX_PROMPT = (
    "Your code runs in a sandbox, and this is a test of it: what you do is meant to fail. In one block of Python, "
    "try to read {key}, and to open https://example.com/ with urllib.request; catch and print what is raised. Write "
    f"a line about each into {VERDICT} in the working directory, and finish with one sentence."
)

_LOOK = """I'll have a look at the workspace first.

```bash:execute
pwd
for step in 1 2 3; do echo "looking, $step of 3"; sleep 0.2; done
ls
```
"""

_CALCULATE = """Now the prices, from the shop's MCP server, and the tax, from a function of the program that runs \
me: one block of Python instead of a model call for every tool call.

```python:execute
prices = {item: price_of(item=item) for item in list_items()}
for item, price in prices.items():
    print(f"{item:<8} {price:>7.2f}")
net = sum(prices.values())
print(f"{'net':<8} {net:>7.2f}")
print(f"{'gross':<8} {add_vat(net=net):>7.2f}")
```
"""


def _report(request: Request) -> Reply:
    """Answer with what stands in the results of the block before."""
    rows = re.findall(r"^(\w+) +(\d+\.\d\d)$", request.last_text, re.MULTILINE)
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    text = f"""That gives the report.

```{REPORT}:create
# What the shop is worth

| item | euros |
|---|---:|
{table}
```

```bash:execute
cat {REPORT}
```
"""
    return Reply(text, delay=0.002)


def _conclude(request: Request) -> Reply:
    """Answer with the sum as the report shows it; without one there is nothing to conclude."""
    gross = re.findall(r"\| gross \| (\d+\.\d\d) \|", request.last_text)
    if not gross:
        return Reply("I could not find the sum in the report.")
    return Reply(f"All items of the shop cost {gross[-1]} euros with tax; the table is in {REPORT}.", delay=0.01)


def _results(request: Request) -> list[str]:
    """Return what the calls of the message before gave, in order."""
    items = request.body["input"]
    last = max((at for at, item in enumerate(items) if item.get("type") == "function_call"), default=len(items))
    return [str(item["output"]) for item in items[last + 1 :] if item.get("type") == "function_call_output"]


def _ask_prices(request: Request) -> Reply:
    """Ask for the price of every item of the list before."""
    items: list[str] = json.loads((_results(request) or ["[]"])[-1])
    return Reply("All prices at once.\n", tool_calls=[ToolCall("price_of", {"item": item}) for item in items])


def _compare(request: Request) -> Reply:
    """Answer with the extremes of the prices before."""
    items = [json.loads(item["arguments"]).get("item") for item in request.body["input"] if "arguments" in item][1:]
    prices = sorted(zip(map(float, _results(request)), items, strict=True))
    if not prices:
        return Reply("I could not find any prices.")
    (low, cheapest), (high, dearest) = prices[0], prices[-1]
    return Reply(f"The {dearest} is the dearest, at {high:.2f} euros, and the {cheapest} the cheapest, at {low:.2f}.")


def _try_to_get_out(request: Request) -> Reply:
    """Answer with code that tries what the prompt names."""
    key = re.search(r"try to read (\S+),", request.last_text)
    text = f"""I'll try both, and write down what comes of it.

```python:execute
import urllib.request

def attempt(what, act):
    try:
        return f"- {{what}}: reached, {{act()}}"
    except OSError as error:
        return f"- {{what}}: not reached, {{error}}"

lines = [
    attempt("the file", lambda: open({key[1] if key else "/"!r}).read()),
    attempt("example.com", lambda: urllib.request.urlopen("https://example.com/", timeout=20).status),
]
open("{VERDICT}", "w").write("\\n".join(lines) + "\\n")
print(open("{VERDICT}").read(), end="")
```
"""
    return Reply(text, delay=0.002)


def _own_up(request: Request) -> Reply:
    """Answer with what the block before has reached."""
    count = request.last_text.count(": not reached, ")
    if count < 2:
        return Reply("The sandbox did not hold.")
    return Reply(f"I could neither see the file nor reach the site, as {VERDICT} says.", delay=0.01)


SCRIPT: list[Turn] = [
    Reply(_LOOK, delay=0.002),
    Reply(_CALCULATE, delay=0.002),
    _report,
    _conclude,
    Reply(tool_calls=[ToolCall("list_items")]),
    _ask_prices,
    _compare,
    _try_to_get_out,
    _own_up,
]
