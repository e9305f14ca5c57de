"""`.parse` works as always: the last message of the turn is what gets parsed, however much code ran before it."""

from __future__ import annotations

from model import connection, found
from openai import OpenAI
from pydantic import BaseModel

from agentd import patch_openai_with_ptc


class Disk(BaseModel):
    files: int
    largest: str


def main() -> None:
    client = patch_openai_with_ptc(OpenAI(**connection(SCRIPT)), cwd="workspace")
    question = "Write three files of different sizes. How many are there, and which is the largest?"
    response = client.responses.parse(model="gpt-5-mini", input=question, text_format=Disk)
    print(response.output_parsed)
    for item in response.output:
        print(item.type)


CODE = """
rm -rf sizes && mkdir sizes
for n in 10 300 20; do head -c $n /dev/zero > sizes/file$n; done
echo "files $(ls sizes | wc -l)"
echo "largest $(ls -S sizes | head -1)"
"""
SCRIPT = [
    f"```bash:execute{CODE}```\n",
    lambda request: Disk(
        files=int(found(r"files (\d+)", request)), largest=found(r"largest (\S+)", request)
    ).model_dump_json(),
]

if __name__ == "__main__":
    main()
