"""What runs, what is refused and what is text, example by example."""

from __future__ import annotations

import pytest

from agentd.fences import Block, Code, Cut, Opened, Refused, Scanner, Text, scan
from tests.unit.fences.markdown import joined, scan_chunks

RUN = "```bash:execute\necho hi\n```\n"


def blocks(text: str) -> list[Block]:
    return [piece for piece in scan(text) if isinstance(piece, Block)]


def refusals(text: str) -> list[Refused]:
    return [piece for piece in scan(text) if isinstance(piece, Refused)]


def test_an_action_among_text() -> None:
    assert joined(scan("Look:\n\n" + RUN)) == [
        Text("Look:\n\n"),
        Opened("bash", "", 7),
        Code("echo hi\n"),
        Block("bash", "", "echo hi\n", {}, "bash:execute", 7, 35),
    ]


@pytest.mark.parametrize(
    ("opening", "kind", "path", "options"),
    [
        ("```bash:execute", "bash", "", {}),
        ("```sh:execute", "bash", "", {}),
        ("```python:execute", "python", "", {}),
        ("```py:execute", "python", "", {}),
        ("```notes.txt:create", "create", "notes.txt", {}),
        ("```src/a-b.txt:create", "create", "src/a-b.txt", {}),
        ("```.env:create", "create", ".env", {}),
        ("```a:b.txt:create", "create", "a:b.txt", {}),
        ("```größe.txt:create", "create", "größe.txt", {}),
        ("``` \t bash:execute  ", "bash", "", {}),
        ("   ```bash:execute", "bash", "", {}),
        ("```bash:execute timeout=120", "bash", "", {"timeout": "120"}),
        ("```bash:execute timeout=0.5", "bash", "", {"timeout": "0.5"}),
        ('```py:execute timeout="5" state=session', "python", "", {"timeout": "5", "state": "session"}),
    ],
)
def test_openings_that_run(opening: str, kind: str, path: str, options: dict[str, str]) -> None:
    text = f"{opening}\nx\n```"
    header = opening.strip(" `\t").partition(" ")[0]
    assert blocks(text) == [Block(kind, path, "x\n", options, header, 0, len(text))]


@pytest.mark.parametrize(
    ("opening", "reason"),
    [
        ("```BASH:EXECUTE", "all in lower case"),
        ("```Bash:execute", "all in lower case"),
        ("```bash:Execute", "all in lower case"),
        ("```a.txt:CREATE", "all in lower case"),
        ("```ruby:execute", "bash:execute, sh:execute, python:execute or py:execute"),
        ("```:execute", "bash:execute"),
        ("```bash:run", "bash:execute"),
        ("```python:foo", "python:execute"),
        ("```a.txt:write", "PATH:create"),
        ("```bash:execute{x=1}", "bash:execute"),
        ("```bash: execute", "first word"),
        ("```shell bash:execute", "first word"),
        ("```my notes.txt:create", "first word"),
        ("```:create", "empty"),
        ("```/etc/passwd:create", "relative to the workspace"),
        ("```~/x:create", "relative to the workspace"),
        ("```C:\\x:create", "plain file name"),
        ("```http://x/y:create", "plain file name"),
        ("```a/../../x:create", "must not contain .."),
        ("```a/:create", "name a file"),
        ("```a\x07:create", "characters"),
        ("```a\ud800:create", "characters"),
        ("```bash:execute timeout=soon", "timeout=soon is not a number"),
        ("```bash:execute timeout=0", "between 0 and 86400"),
        ("```bash:execute timeout=86401", "between 0 and 86400"),
        ("```bash:execute timeout=-1", "between 0 and 86400"),
        ("```bash:execute timeout=1 timeout=2", "twice"),
        ("```bash:execute now", "'now' is not a key=value option"),
        ("```bash:execute cwd=/", "cwd is not known here (possible: timeout)"),
        ("```bash:execute state=session", "state is not known here (possible: timeout)"),
        ("```py:execute state=fresh", "state=session"),
        ("```a.txt:create timeout=5", "possible: none"),
    ],
)
def test_openings_that_are_refused(opening: str, reason: str) -> None:
    text = f"{opening}\nrm x\n```\n"
    (refused,) = refusals(text)
    assert reason in refused.reason
    assert (refused.body, refused.start, refused.end) == ("rm x\n", 0, len(text))
    assert not blocks(text)


@pytest.mark.parametrize(
    "text",
    [
        "````\n```bash:execute\nrm x\n```\n````\n",
        "````text\n```bash:execute\nrm x\n```\n````\n",
        "~~~\n```bash:execute\nrm x\n```\n~~~\n",
        "```text\n```bash:execute\nrm x\n```\n",
        "```\n~~~bash:execute\nrm x\n~~~\n```\n",
        "> ```bash:execute\n> rm x\n> ```\n",
        "> - ```bash:execute\n>   rm x\n>   ```\n",
        "    ```bash:execute\n    rm x\n    ```\n",
        "\t```bash:execute\n\trm x\n\t```\n",
        "Use ```bash:execute rm x``` here\n",
        "Say `bash:execute`, or ``` ```bash:execute ```\n",
        "x ```bash:execute\nrm x\n```\n",
        "``bash:execute\nrm x\n``\n",
        "```bash:execute`\nrm x\n",
        "<!--\n```bash:execute\nrm x\n```\n-->\n",
        "<div>\n```bash:execute\nrm x\n```\n</div>\n",
        "<pre>\n\n```bash:execute\nrm x\n```\n</pre>\n",
        "\\```bash:execute\nrm x\n```\n",
        "```bash\nrm x\n```\n",
        "```execute\nrm x\n```\n",
        "```rust:main.rs\nfn\n```\n",
        "```diff:foo.py\n+\n```\n",
        "```js:line-numbers\nx\n```\n",
        "```c++:title\nx\n```\n",
        "```http://x\nx\n```\n",
        "```python title=a.py:12\nx\n```\n",
        "```a b c d e:execute\nx\n```\n",
        "bash:execute\nrm x\n",
        "```\u2028```bash:execute\u2028rm x\u2028```\n",
        "x\x0b```bash:execute\x0c```\x85```bash:execute\n",
    ],
)
def test_markup_that_is_text(text: str) -> None:
    assert joined(scan(text)) == [Text(text)]
    assert scan_chunks(list(text)) == [Text(text)]


@pytest.mark.parametrize(
    "text",
    [
        "- ```bash:execute\n  rm x\n  ```\n",
        "1. Do:\n   ```bash:execute\n   rm x\n   ```\n",
        "* a\n\n  ~~~bash:execute\n  rm x\n  ~~~\n",
        "- 1. ```bash:execute\n     rm x\n     ```\n",
        "[a]: b\n2. ```bash:execute\n   rm x\n   ```\n",
    ],
)
def test_in_a_list_item_it_is_refused(text: str) -> None:
    (refused,) = refusals(text)
    assert "start it at the beginning of a line, outside of the list" in refused.reason
    assert refused.body == "rm x\n"
    assert not blocks(text)


def test_after_a_list_it_runs() -> None:
    assert [block.body for block in blocks("- a\n- b\n\n" + RUN)] == ["echo hi\n"]
    assert [block.body for block in blocks("- ```bash:execute\n  rm x\n" + RUN)] == ["echo hi\n"]


@pytest.mark.parametrize(
    ("text", "body"),
    [
        ("```bash:execute\n```", ""),
        ("```bash:execute\n\n```\n", "\n"),
        ("```bash:execute\necho ```\n```\n", "echo ```\n"),
        ("```bash:execute\n``` x\n```\n", "``` x\n"),
        ("```bash:execute\n    ```\n```\n", "    ```\n"),
        ("```bash:execute\n``\n```\n", "``\n"),
        ("```bash:execute\n~~~\n```\n", "~~~\n"),
        ("```bash:execute\nx\n`````  \n", "x\n"),
        ("```bash:execute\nx\n   ```\t\n", "x\n"),
        ("  ```bash:execute\n    x\n y\n  ```\n", "  x\ny\n"),
        ("````README.md:create\n```bash:execute\nls\n```\n````\n", "```bash:execute\nls\n```\n"),
        ("~~~~a.md:create\n~~~\n```\n~~~~\n", "~~~\n```\n"),
        ("```bash:execute\r\na\r\n\r\nb\r\n```\r\n", "a\n\nb\n"),
        ("```bash:execute\na\r\nb\rc\n```\n", "a\r\nb\rc\n"),
        ("```bash:execute\r\na\rb\n```\r\n", "a\rb\n"),
        ("```bash:execute\n\0\ud800\u2028\x85\x0c\n```\n", "\0\ud800\u2028\x85\x0c\n"),
        ("```bash:execute\n# h\n> q\n- l\n<!--\n```\n", "# h\n> q\n- l\n<!--\n"),
    ],
)
def test_the_body_is_exact(text: str, body: str) -> None:
    (block,) = blocks(text)
    assert (block.body, block.start, block.end) == (body, 0, len(text))
    assert scan_chunks(list(text)) == joined(scan(text))


@pytest.mark.parametrize(
    ("text", "body", "closing"),
    [
        ("```bash:execute", "", "```"),
        ("```bash:execute\n", "", "```"),
        ("```bash:execute\nrm x", "rm x", "```"),
        ("```bash:execute\nrm x\n``", "rm x\n``", "```"),
        ("````bash:execute\nrm x\n```\n", "rm x\n```\n", "````"),
        ("~~~bash:execute\nrm x\n```\n", "rm x\n```\n", "~~~"),
    ],
)
def test_what_is_not_closed_is_refused(text: str, body: str, closing: str) -> None:
    (refused,) = refusals(text)
    assert refused.reason == f"bash:execute was not closed, so it did not run: end it with a line of {closing}"
    assert (refused.body, refused.end) == (body, len(text))
    assert not blocks(text)


def test_a_group_drops_the_space_in_it() -> None:
    text = RUN + "\n \t\n" + RUN + RUN + "\n"
    assert [(block.start, block.end) for block in blocks(text)] == [(0, 28), (32, 60), (60, 88)]
    assert not [piece for piece in scan(text) if isinstance(piece, Text | Cut)]


def test_what_follows_a_group_is_cut() -> None:
    pieces = scan("First.\n" + RUN + RUN + "\nIt printed hi.\n" + RUN)
    assert pieces[-1] == Cut(7 + 28 + 28)
    assert [piece.start for piece in pieces if isinstance(piece, Block)] == [7, 35]
    assert "".join(piece.text for piece in pieces if isinstance(piece, Text)) == "First.\n"


@pytest.mark.parametrize("after", ["x", "```\n", "```text\n", "> ```bash:execute\n", "- x", "<b>", "`", "\0"])
def test_any_text_cuts(after: str) -> None:
    assert scan(RUN + after)[-1] == Cut(28)


def test_text_after_a_refused_action_is_cut_too() -> None:
    text = "```bash:run\nx\n```\n"
    assert scan(text + "It worked.")[-1] == Cut(len(text))


def test_the_cut_comes_with_the_first_character() -> None:
    scanner = Scanner()
    scanner.feed(RUN)
    assert scanner.feed("\n I") == [Cut(28)]
    assert scanner.feed("t\n" + RUN) == []
    assert scanner.close() == []


def test_a_block_comes_as_soon_as_its_closing_line_is_complete() -> None:
    scanner = Scanner()
    assert not [piece for piece in scanner.feed(RUN[:-1]) if isinstance(piece, Block)]
    assert [type(piece) for piece in scanner.feed("\n")] == [Block]


@pytest.mark.parametrize("text", ["Plain words, *marked* `up`: fine.", "x ```bash:execute", "Said <invoke name"])
def test_prose_goes_through_at_once(text: str) -> None:
    scanner = Scanner()
    for char in text:
        assert scanner.feed(char) == [Text(char)]


def test_code_goes_through_at_once() -> None:
    scanner = Scanner()
    scanner.feed("```py:execute\n")
    for char in "print('``` <invoke')":
        assert scanner.feed(char) == [Code(char)]


def test_a_fence_that_opens_no_action_is_not_held_back_for_long() -> None:
    scanner = Scanner()
    shown = "".join(
        piece.text for char in "``` " + "words and " * 20 for piece in scanner.feed(char) if isinstance(piece, Text)
    )
    assert len(shown) > 150


@pytest.mark.parametrize("filler", [" ", "\t", "- ", "1. "])
def test_what_may_open_an_action_is_not_held_back_for_long(filler: str) -> None:
    scanner = Scanner()
    assert (
        sum(len(piece.text) for char in filler * 500 for piece in scanner.feed(char) if isinstance(piece, Text)) > 490
    )


@pytest.mark.parametrize("length", [0, 200, *range(250, 260), 1000])
@pytest.mark.parametrize("filler", [" ", "- ", "\t", "`", "<", "``` a "])
def test_limits_do_not_depend_on_chunks(length: int, filler: str) -> None:
    for end in ("```bash:execute\nx\n```\n", "<invoke", "\n" + RUN, ""):
        text = (filler * length)[:length] + end
        assert scan_chunks(list(text)) == joined(scan(text))
