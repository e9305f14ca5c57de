"""The least that is needed: patch a client and ask as always. The model's code runs in the folder `workspace`."""

from __future__ import annotations

from model import connection, found
from openai import OpenAI

from agentd import patch_openai_with_ptc


def main() -> None:
    client = patch_openai_with_ptc(OpenAI(**connection(SCRIPT)), cwd="workspace")
    response = client.responses.create(model="gpt-5-mini", input="Save the first five squares in a file. Their sum?")
    print(response.output_text)


CODE = """
for n in 1 2 3 4 5; do echo $((n * n)); done > squares.txt
awk '{ sum += $1 } END { print "sum", sum }' squares.txt
"""
SCRIPT = [
    f"Bash can do that.\n\n```bash:execute{CODE}```\n",
    lambda request: f"They are in squares.txt, and their sum is {found(r'sum (.+)', request)}.",
]

if __name__ == "__main__":
    main()
