"""Executors by name: this package's, and what other distributions bring."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentd.core.errors import ExecutorUnavailable
from agentd.executors import EXECUTORS, backend, create, names, plugins
from agentd.executors.local import LocalExecutor

GROUP = "[agentd.executors]\n"
PLUGIN = """
from __future__ import annotations

from agentd.executors.host import RunnerExecutor
from agentd.executors.launch import Probe, ProcessLaunch, runner_command
from agentd.executors.policy import settle


class TinyExecutor(RunnerExecutor):
    name = "tiny"

    @classmethod
    def probe(cls):
        return Probe(True, "1.5")

    def _keep(self):
        return settle(self.policy, self.name, {**self._limits.report, "wall_time": "runner"})

    def _launch(self):
        return ProcessLaunch(runner_command(), cwd=self.workspace_dir, env=self.env, limits=self._limits.group)
"""
PROGRAM = """
import sys
from agentd.executors import backend, create, names

with create("tiny", sys.argv[1], timeout=20) as executor:
    print(names()[-1], backend("tiny").probe().version, *executor.execute_bash("echo $((6 * 7)) > out; cat out"))
"""


def distribution(folder: Path, name: str, entries: str, code: str = "") -> None:
    """Put a distribution into a folder of the path, as an installer does."""
    info = folder / f"{name}-1.5.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text(entries)
    if code:
        (folder / f"{name}.py").write_text(code)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that distributions are found in."""
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_this_packages_names_come_first() -> None:
    assert names()[:4] == ["local", "bwrap", "srt", "microsandbox"]
    assert backend("local") is LocalExecutor


def test_a_name_that_nobody_has(tmp_path: Path) -> None:
    with pytest.raises(
        ExecutorUnavailable, match=r"no executor 'bwarp', did you mean 'bwrap'\? Known: local, bwrap, srt"
    ):
        create("bwarp", tmp_path)
    with pytest.raises(ExecutorUnavailable, match=r"no executor ''. Known: local"):
        backend("")


def test_docker_comes_in_by_the_door() -> None:
    from agentd.executors.docker import DockerExecutor

    assert "docker" not in EXECUTORS
    assert plugins()["docker"].distribution.startswith("agentd ")
    assert backend("docker") is DockerExecutor


def test_a_package_of_strangers_brings_one(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    distribution(packages, "tiny", GROUP + "tiny = tiny:TinyExecutor\n", PLUGIN)
    path = os.pathsep.join(filter(None, [str(packages), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "PYTHONPATH": path}
    argv = [sys.executable, "-W", "error", "-c", PROGRAM, str(tmp_path / "workspace")]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, env=env, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("tiny 1.5 42\n 0\n", "")
    assert (tmp_path / "workspace" / "out").read_text() == "42\n"


def test_one_that_cannot_be_loaded_is_named_and_breaks_no_other(installed: Path) -> None:
    distribution(installed, "broken", GROUP + "broken = broken:Executor\n", "import nowhere.at_all\n")
    distribution(installed, "tiny", GROUP + "tiny = tiny:TinyExecutor\n", PLUGIN)
    assert {"broken", "tiny"} <= set(names())
    with pytest.raises(
        ExecutorUnavailable,
        match=r"'broken' of broken 1\.5 \(broken:Executor\) cannot be loaded: ModuleNotFoundError: .*Repair",
    ):
        backend("broken")
    assert backend("tiny").name == "tiny"


@pytest.mark.parametrize(
    "code",
    [
        "raise SystemExit(7)\n",
        "class Kind(type):\n    @property\n    def name(cls): raise OSError('no name')\n"
        "class Executor(metaclass=Kind):\n    @classmethod\n    def probe(cls): ...\n",
    ],
)
def test_one_that_ends_programs_or_has_no_answer_ends_nothing(installed: Path, code: str) -> None:
    module = f"ending{abs(hash(code))}"
    distribution(installed, module, GROUP + f"{module} = {module}:Executor\n", code)
    with pytest.raises(ExecutorUnavailable, match=rf"of {module} 1\.5 .* cannot be loaded: (SystemExit: 7|OSError)"):
        backend(module)


def test_files_that_make_no_sense_break_no_other(installed: Path) -> None:
    distribution(installed, "garbled", "[agentd.executors]\nno equals sign\n")
    distribution(installed, "tiny", GROUP + "tiny = tiny:TinyExecutor\n", PLUGIN)
    assert "tiny" in names()


def test_our_own_names_cannot_be_taken(installed: Path) -> None:
    distribution(installed, "usurper", GROUP + "local = usurper:Executor\n", "class Executor:\n    name = 'local'\n")
    assert backend("local") is LocalExecutor
    assert names().count("local") == 1
    plugin = plugins()["local"]
    assert plugin.problem == "'local' is an executor of agentd, which usurper 1.5 cannot replace: uninstall it"
    with pytest.raises(ExecutorUnavailable, match="usurper"):
        plugin.load()


def test_a_name_that_two_bring_is_nobodys(installed: Path) -> None:
    distribution(installed, "one", GROUP + "cloud = one:Executor\n", PLUGIN)
    distribution(installed, "two", GROUP + "cloud = two:Executor\n", PLUGIN)
    with pytest.raises(
        ExecutorUnavailable, match=r"'cloud' is brought by one 1\.5 and two 1\.5: uninstall all but one"
    ):
        backend("cloud")


@pytest.mark.parametrize(
    ("code", "lacking"),
    [
        ("Executor = 5\n", "it cannot be called, it has no `name`, it has no `probe`"),
        (
            "class Executor:\n    def probe(self): ...\n",
            "it has no `name`, it has no `probe` that works without an instance",
        ),
        ("class Executor:\n    name = 'x'\n", "it has no `probe`"),
    ],
)
def test_what_is_no_back_end_is_told_why(installed: Path, code: str, lacking: str) -> None:
    module = f"lacking{abs(hash(code))}"
    distribution(installed, module, GROUP + f"{module} = {module}:Executor\n", code)
    with pytest.raises(ExecutorUnavailable, match=f"is not a back end: {lacking}"):
        backend(module)


def test_a_back_end_is_imported_when_it_is_asked_for() -> None:
    code = (
        "import sys\nfrom agentd.executors import backend, names\nbackend('local'), names()\n"
        "print([name for name in ('agentd.executors.docker', 'docker', 'requests') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
