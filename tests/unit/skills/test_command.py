"""The `skills` command, as code finds it on its PATH."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from agentd.skills import Catalogue, bindings, install
from tests.fakes.catalogues import recorded

ALL = Catalogue.of(recorded())


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    install(ALL, tmp_path)
    own = tmp_path / "skills" / "own"
    (own / "scripts").mkdir(parents=True)
    (own / "SKILL.md").write_text(
        "---\nname: own\ndescription: >-\n  Mine:\n  two lines\nlicense: MIT\n---\n\n# Own\n\ntext\n"
    )
    (own / "scripts" / "show.py").write_text("import sys, lib.tools\nprint(sys.argv[1:], lib.tools.git_log.__name__)\n")
    (own / "scripts" / "fail.sh").write_text('echo "$PWD"; exit 7\n')
    return tmp_path


def run(cwd: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    (bin_dir,) = bindings(ALL, cwd).bin_dirs
    path = f"{bin_dir}:{os.environ['PATH']}"
    return subprocess.run(
        ["skills", *words], cwd=cwd, env={"PATH": path, **env}, capture_output=True, text=True, check=False
    )


def test_list(workspace: Path) -> None:
    done = run(workspace, "list")
    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert list(lines) == ["fetch", "filesystem", "git", "github", "memory", "own", "time"]
    assert lines["fetch"] == "Tools of the MCP server mcp-server-fetch, as Python functions: fetch"
    assert lines["own"] == "Mine: two lines"
    assert done.returncode == 0


def test_it_finds_the_skills_from_anywhere(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    deep = workspace / "deep" / "er"
    deep.mkdir(parents=True)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    expected = run(workspace, "list").stdout
    assert run(deep, "list").stdout == expected
    assert run(elsewhere, "list", AGENTD_SKILLS_DIR=str(workspace / "skills")).stdout == expected
    assert run(elsewhere, "list", PYTHONPATH=f"/nowhere:{workspace / 'skills'}").stdout == expected
    lost = run(elsewhere, "list")
    assert (lost.returncode, lost.stdout) == (2, "")
    assert "set AGENTD_SKILLS_DIR" in lost.stderr


def test_read_and_frontmatter(workspace: Path) -> None:
    assert run(workspace, "read", "own").stdout == "# Own\n\ntext\n"
    assert (
        run(workspace, "frontmatter", "own").stdout
        == "name: own\ndescription: >-\n  Mine:\n  two lines\nlicense: MIT\n"
    )
    assert run(workspace, "frontmatter", "time").stdout.startswith('name: "time"\ndescription: "Tools of')
    assert "- `get_current_time(timezone: str)" in run(workspace, "read", "time").stdout


def test_run(workspace: Path) -> None:
    done = run(workspace, "run", "own", "show.py", "a b", "--flag")
    assert done.stdout == "['a b', '--flag'] git_log\n"
    assert run(workspace, "run", "own", "show").stdout == "[] git_log\n"
    done = run(workspace, "run", "own", "scripts/fail.sh")
    assert (done.returncode, done.stdout) == (7, f"{workspace}\n")


def test_an_example_without_a_bridge_says_what_is_wrong(workspace: Path) -> None:
    done = run(workspace, "run", "time", "get_current_time")
    assert done.returncode == 1
    assert "ToolError: tools cannot be called from here: neither AGENTD_BRIDGE_SOCKET" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["read", "nothing"], "there is no skill 'nothing'; there are: fetch, filesystem"),
        (["read", "../skills/own"], "there is no skill"),
        (["run", "own", "nothing"], "skill own has no script 'nothing'; it has: fail.sh, show.py"),
        (["run", "own", "../SKILL.md"], "has no script"),
        (["dance"], "there is no command 'dance'"),
        (["read"], "usage:"),
        (["list", "too", "many"], "usage:"),
    ],
    ids=" ".join,
)
def test_mistakes(workspace: Path, words: list[str], said: str) -> None:
    done = run(workspace, *words)
    assert done.returncode == 2
    assert done.stderr.startswith("skills: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_help(workspace: Path) -> None:
    for words in ([], ["help"], ["--help"]):
        done = run(workspace, *words)
        assert done.stdout.startswith("usage: skills list")
        assert done.returncode == 0


def test_a_reader_that_goes_away(workspace: Path) -> None:
    (bin_dir,) = bindings(ALL, workspace).bin_dirs
    script = f"{bin_dir}/skills read github | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], cwd=workspace, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


def test_the_command_imports_nothing_but_the_standard_library() -> None:
    (bin_dir,) = bindings(ALL, Path("/w")).bin_dirs
    source = (Path(bin_dir) / "skills").read_text()
    imports = [line for line in source.splitlines() if line.startswith(("import ", "from "))]
    assert imports == [
        "from __future__ import annotations",
        "import json",
        "import os",
        "import sys",
        "from pathlib import Path",
    ]
