"""What the scripted model answers to the prompts in the README and in docs/: one list of turns a prompt."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from agentd.llm.scripted import Reply, Request, ToolCall

Turn = str | Reply | Callable[[str], str]


def bash(code: str, options: str = "") -> str:
    return f"```bash:execute{options}\n{code}\n```\n"


def python(code: str, options: str = "") -> str:
    return f"```python:execute{options}\n{code}\n```\n"


def calls(*made: ToolCall) -> Reply:
    return Reply(tool_calls=made)


def saying(pattern: str, text: str) -> Turn:
    """Answer with `text`, in which `{}` is what the pattern finds in the results."""

    def say(results: str) -> str:
        match = re.search(pattern, results)
        return text.format(*(match.groups() if match else ["nothing"]))

    return say


COUNT_CPUS: list[Turn] = [bash('echo "CPUs: $(nproc)"'), saying(r"CPUs: (\d+)", "There are {}.")]

CONVERSATIONS: dict[str, list[Turn]] = {
    "List files, then calculate sqrt(144)": [
        "I'll look, then calculate.\n\n" + bash("ls") + "\n" + python("print(square_root(144))"),
        saying(r"(?s)(skills).*12\.0", "There is one folder, {}; the square root of 144 is 12."),
    ],
    "How many things does the shop sell, and what is the time zone here?": [
        python("print(len(list_items()), 'things,', get_current_time(timezone='UTC')['timezone'])"),
        saying(r"(\d+) things, (\w+)", "The shop sells {} things, and the time zone is {}."),
    ],
    "How many CPUs are there, more than 0?": COUNT_CPUS,
    "And how many CPUs are there, more than 0?": COUNT_CPUS,
    "Make a folder for Rome.": [bash("mkdir Rome && ls -d Rome"), saying("(Rome)\n", "{} has a folder.")],
    "Make a folder for Oslo.": [bash("mkdir Oslo && ls -d Oslo"), saying("(Oslo)\n", "{} has a folder.")],
    "Which cities have a folder?": [
        bash("ls -d [A-Z]*"),
        saying(r"(Oslo)\n(Rome)", '{{"names": ["{}", "{}"]}}'),
    ],
    "Thank you.": ["You are welcome."],
    "What is in my home folder?": [
        bash('echo "$(ls -A ~ | wc -l) files in $HOME"'),
        saying(r"(0) files in (/home/agentd)\n", "Nothing: {} files in {}, which is the sandbox's own."),
    ],
    "Put a key into .env.": [
        bash("echo KEY=1 > .env"),
        saying(r"\[(\.env may not be written here)", "I cannot: {}."),
    ],
}

ADD_UP = "cat bills/*.txt | awk '{ sum += $2 } END { print sum }'"
KEYLESS = "The bills come to {} euros; ~/.ssh is not there, and nothing of the network."
AFFORD = """left = 150 - 147
prices = {item: price_of(item=item) for item in list_items()}
print(left, "left for", *[item for item in prices if prices[item] <= left])"""

CONVERSATIONS |= {
    "What do the bills come to?": [
        "I'll add them up.\n\n" + bash(ADD_UP),
        saying(r"\n(\d+)\n", "The bills come to {} euros."),
    ],
    "What do the bills come to? And can you see my keys?": [
        bash(f"{ADD_UP}; ls ~/.ssh; getent hosts example.com || echo alone"),
        saying(r"(\d+)\nls: cannot access .*\.ssh.*\nalone", KEYLESS),
    ],
    "Which bill is the largest?": [
        "Let me sort them.\n\n" + bash("sort -k2 -nr bills/*.txt | head -1"),
        saying(r"power: (\d+)", "Power is the largest, at {} euros."),
    ],
    "Three of us share the bills. How much is that for each of us?": [
        python("print(share(147, people=3))"),
        saying(r"\n(\d+)\.0\n", "Each of you pays {} euros."),
    ],
    "We have 150 euros and the bills to pay. Which things from the shop can we afford?": [
        python(AFFORD),
        saying(r"(\d+) left for (.+)", "After the bills, {} euros are left: you can afford {}."),
    ],
    "Write a letter that asks for the money, letter.md.": [
        "```letter.md:create\nPay 49 euros each.\n```\n",
        "There it is.",
    ],
    "Make it friendlier.": [
        "```letter.md:create\nDear friends,\n\nplease pay 49 euros each. Thank you so much!\n```\n",
        "Done.",
    ],
}

WAIT: list[Turn] = [bash("sleep 1; echo waited"), "I waited."]
DRONE = """orders = [{"item": "drum", "count": 2}]
try:
    print(ship(orders, how="drone"))
except ToolError as error:
    print("a drone said:", error)
    print(ship(orders))"""

CONVERSATIONS |= {
    "What does an easel cost, and where is it UTC?": [
        python("print(price_of(item='easel'), 'in', get_current_time(timezone='UTC')['timezone'])"),
        saying(r"([\d.]+) in (\w+)", "An easel costs {} euros; it is UTC in {}."),
    ],
    "Ship 2 drums, by drone if you can.": [
        python(DRONE),
        saying("(a drone said: .+)\n.*drum", "Shipped by post, for {}"),
    ],
    "Wait for one second.": WAIT,
    "Load some numbers; then, in another block, sum them up.": [
        python("numbers = [1, 2, 3]", " state=session"),
        python("print('sum', sum(numbers))", " state=session"),
        saying(r"sum (\d+)", "The sum is {}."),
    ],
    "Who are you, and what else runs here?": [
        bash('echo "$(whoami), $(hostname), $(cat /proc/1/comm)"'),
        saying(r"(\w+), (\w+), (\w+)", "I am {}, on a machine called {}, whose first process is {}."),
    ],
    "Count for ever.": [bash("for ((n = 0; ; n++)); do echo $n; sleep 0.1; done")],
    "How is the weather in Rome?": [Reply(tool_calls=[ToolCall("weather", {"city": "Rome"})])],
}

CONVERSATIONS |= {
    "What does a drum cost, and what is the root of 2?": [
        calls(ToolCall("price_of", {"item": "drum"}), ToolCall("square_root", {"number": 2})),
        saying(r"(.+)\n(.+)", "A drum costs {} euros, and the root of 2 is {}."),
    ],
    "Send two drums by drone, if the weather in Rome is fine.": [
        calls(
            ToolCall("ship", {"orders": [{"item": "drum", "count": 2}], "how": "drone"}),
            ToolCall("weather", {"city": "Rome"}),
        ),
        saying(r"(Error.*)\nfine", "They have to go by post, for a drone said: {}"),
    ],
    "What does a candle cost?": [
        calls(ToolCall("price_of", {"item": "candle"})),
        saying("(.+)", '{{"item": "candle", "price": {}}}'),
    ],
    "Have the server ask me, then a model.": [
        calls(ToolCall("trigger-elicitation-request")),
        calls(ToolCall("trigger-sampling-request", {"prompt": "Greet me."})),
        saying('"text": "(.+)"', "It has been told your name, and a model has told it: {}"),
    ],
}
# What the model answers to a server.
SAMPLED = {"Resource trigger-sampling-request context: Greet me.": "Hello, server."}


def answer(request: Request) -> str | Reply:
    """Go on with the latest conversation that the request is part of."""
    items = _messages(request)
    texts = [_text_of(item) for item in items]
    if texts[-1] in SAMPLED:
        return SAMPLED[texts[-1]]
    begun = max(index for index, text in enumerate(texts) if text in CONVERSATIONS)
    told = _results(items[begun + 1 :])
    turn = CONVERSATIONS[texts[begun]][len(told)]
    return turn if isinstance(turn, str | Reply) else turn(told[-1])


def _results(items: Sequence[Any]) -> list[str]:
    """Return what each round gave: the results of blocks, or those of calls, one a line."""
    rounds: list[str] = []
    together = False
    for item in items:
        is_output = item.get("type") == "function_call_output" or item.get("role") == "tool"
        text = item["output"] if item.get("type") == "function_call_output" else _text_of(item)
        if is_output and together:
            rounds[-1] += f"\n{text}"
        elif is_output or text.startswith("Result 1"):
            rounds.append(text)
        together = is_output
    return rounds


def _messages(request: Request) -> Sequence[Any]:
    given = request.body["messages" if request.api == "chat" else "input"]
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


def _text_of(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
