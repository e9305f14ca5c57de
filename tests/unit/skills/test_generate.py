"""The generated folders are Agent Skills, and their examples run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from skills_ref import read_properties, validate

from agentd.core.tools import JSON, ToolSpec
from agentd.skills import Catalogue, bindings, generate, install
from agentd.skills.examples import example_value
from agentd.skills.parameters import parameters_of
from tests.fakes.catalogues import recorded, spec

ALL = Catalogue.of([*recorded(), spec("calculate", "", ("expression",), expression={"type": "string"})])


def test_every_folder_is_a_valid_skill(tmp_path: Path) -> None:
    install(ALL, tmp_path)
    folders = sorted(path.parent for path in (tmp_path / "skills").glob("*/SKILL.md"))
    assert [folder.name for folder in folders] == ["fetch", "filesystem", "git", "github", "local", "memory", "time"]
    for folder in folders:
        assert validate(folder) == []
        text = (folder / "SKILL.md").read_text()
        metadata = yaml.safe_load(text.split("---")[1])
        assert metadata == {
            "name": folder.name,
            "description": read_properties(folder).description,
            "metadata": {"generator": "agentd"},
        }
        assert len(text.splitlines()) < 500
        assert len(text) < 5000 * 3


def test_a_skill_names_all_of_its_functions() -> None:
    text = generate(ALL)["git/SKILL.md"]
    assert "Tools of the MCP server mcp-server-git, as Python functions: git_status" in text
    assert "- `git_log(repo_path: str, *, max_count: int = ..., " in text
    for tool in recorded():
        if tool.server == "mcp-server-git":
            assert f"- `{tool.name}(" in text


def test_every_tool_has_an_example_that_compiles() -> None:
    files = generate(ALL)
    for entry in ALL.entries:
        compile(files[f"{entry.skill}/scripts/{entry.name}_example.py"], entry.name, "exec")
    assert "'expression': '1 + 1'" in files["local/scripts/calculate_example.py"]


def test_examples_have_arguments_that_their_schema_accepts() -> None:
    for entry in ALL.entries:
        given = {item.key: example_value(item) for item in entry.parameters.items if item.required}
        jsonschema.validate(given, entry.spec.input_schema)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string", "format": "date"}, "2026-01-31"),
        ({"type": "string", "enum": ["b", "a"]}, "b"),
        ({"type": "string", "default": "d"}, "d"),
        ({"type": "string", "examples": ["e"]}, "e"),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "integer", "exclusiveMinimum": 5}, 6),
        ({"type": "number", "maximum": 0}, 0),
        ({"type": ["null", "integer"]}, None),
        ({"type": "array", "items": {"type": "boolean"}}, [True]),
        ({"type": "object", "properties": {"a": {"const": 3}, "b": {}}, "required": ["a"]}, {"a": 3}),
        ({"type": "string", "default": "x" * 1000}, "example"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_plausible_values(schema: JSON, value: JSON) -> None:
    (item,) = parameters_of(ToolSpec("f", "", {"properties": {"p": schema}, "required": ["p"]}, None, "s")).items
    assert example_value(item) == value


def test_git_ignores_what_is_generated_and_nothing_else(tmp_path: Path) -> None:
    install(ALL, tmp_path)
    (tmp_path / "skills" / "mine").mkdir()
    (tmp_path / "skills" / "mine" / "SKILL.md").write_text("mine")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    status = ["git", "status", "--porcelain", "-uall"]
    done = subprocess.run(status, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["??", "skills/mine/SKILL.md"]


def test_another_package_called_lib_stays_importable(tmp_path: Path) -> None:
    install(ALL, tmp_path)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "__init__.py").write_text("")
    (tmp_path / "lib" / "own.py").write_text("x = 5")
    script = "import lib.own, lib.tools; print(lib.own.x, lib.tools.git_log.__name__)"
    path = f"{tmp_path / 'skills'}:{tmp_path}"
    done = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["5", "git_log"]


def test_bindings() -> None:
    found = bindings(ALL, Path("/workspace"))
    assert found.source == generate(ALL)["lib/tools.py"]
    assert found.digest == bindings(Catalogue.of([entry.spec for entry in ALL.entries]), Path("/workspace")).digest
    assert found.digest != bindings(Catalogue.of(recorded()), Path("/workspace")).digest
    assert found.python_dirs == ("/workspace/skills",)
    (bin_dir,) = found.bin_dirs
    assert (Path(bin_dir) / "skills").stat().st_mode & 0o111
