"""What the README and docs/ show works, and prints what they say that it prints."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from agentd import ScriptedModel
from tests.fakes.aimock import aimock
from tests.fakes.mcp_servers import NPM
from tests.integration.examples.conversations import CONVERSATIONS, answer
from tests.integration.examples.pages import Snippet, snippets
from tests.integration.examples.providers import FIXTURES
from tests.integration.examples.run_page import OF_A_PROVIDER

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def run(page: Path, blocks: list[Snippet], place: Path) -> dict[int, tuple[str, str]]:
    """Run a page's snippets in a process of their own; return what each printed, and its traceback."""
    answers = place / "answers.jsonl"
    with ScriptedModel(answer) as server, providers(blocks, place) as addresses:
        environment = {
            **os.environ,
            **addresses,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), str(NPM), os.environ["PATH"]]),
            "PYTHONPATH": str(ROOT),
            "OPENAI_API_KEY": "scripted",
            "OPENAI_BASE_URL": server.base_url,
            "AZURE_OPENAI_API_KEY": "scripted",
            "MY_AZURE_ENDPOINT": server.url,
        }
        ran = subprocess.run(
            [sys.executable, Path(__file__).with_name("run_page.py"), page.name, answers],
            input=json.dumps([[block.line, block.code] for block in blocks]),
            cwd=place,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
        )
        assert server.errors == []
    found = {line: (out, error) for line, out, error in map(json.loads, answers.read_text("utf-8").splitlines())}
    assert found and (ran.returncode == 0 or any(error for _, error in found.values())), ran.stderr
    return found


@contextlib.contextmanager
def providers(blocks: list[Snippet], place: Path) -> Generator[dict[str, str]]:
    """Serve the APIs of other providers, if a snippet names one; give the variables by which LiteLLM finds them."""
    if not any(OF_A_PROVIDER.search(block.code) for block in blocks):
        yield {}
        return
    folder = place.with_name(f"{place.name}-providers")
    folder.mkdir()
    with aimock(folder, FIXTURES) as server:
        yield server.environment()
        assert server.journal(), "no provider was asked"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_snippets_of_a_page(page: Path, tmp_path: Path) -> None:
    blocks = snippets(page)
    if not blocks:
        return
    ran = run(page, blocks, tmp_path)
    for block in blocks:
        printed, error = ran[block.line]
        assert error == "", f"{page.name}:{block.line}\n{error}"
        assert block.is_right(printed), f"{page.name}:{block.line} prints\n{printed}"


def test_no_conversation_is_left_over() -> None:
    told = "\n".join(page.read_text("utf-8") for page in PAGES)
    stems = {prompt.removesuffix("Rome.").removesuffix("Oslo.") for prompt in CONVERSATIONS}
    assert [stem for stem in stems if stem not in told] == []


WRONG = """
```python
print(1)
```

```text
2
```

- In a list:

  ```python
  print("a b")
  ```

  ```text
  …b
  ```
"""


def test_a_wrong_output_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(WRONG)
    one, two = snippets(page)
    ran = run(page, [one, two], tmp_path)
    assert [one.is_right(ran[one.line][0]), two.is_right(ran[two.line][0])] == [False, True]


def test_a_snippet_that_fails_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Text.\n\n```python\nprint(1)\n1 / 0\n```\n")
    printed, error = run(page, snippets(page), tmp_path)[3]
    assert printed == "1\n" and 'page.md", line 5' in error and "ZeroDivisionError" in error
