"""Folders of a policy that lie in one another: the innermost says what may be done, as in every other back end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.executors.srt import SrtExecutor
from tests.integration.executors.srt_rig import PACKAGE, need_srt

pytestmark = [pytest.mark.srt, pytest.mark.xdist_group("srt-nested")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("nested") / "project"
    for name in ("work/secret", "work/.git/hooks", "data/drop/kept", "data/other"):
        (place / name).mkdir(parents=True)
    for name in ("work/file", "work/secret/key", "work/.bashrc", "work/token", "data/file", "data/drop/kept/file"):
        (place / name).write_text("before")
    return place


@pytest.fixture(scope="module")
def executor(place: Path) -> Iterator[SrtExecutor]:
    need_srt()
    policy = {
        "readable": [str(place), str(place / "data/drop/kept")],
        "writable": [str(place / "data/drop")],
        "hidden": ["secret", "token", str(place / "data/other")],
    }
    with SrtExecutor(place / "work", policy=policy, srt_path=PACKAGE) as executor:
        yield executor


@pytest.mark.parametrize("name", ["work", "work/.git", "data/drop"])
def test_what_is_writable_in_what_is_readable_can_be_written(executor: SrtExecutor, place: Path, name: str) -> None:
    assert executor.execute_bash(f"echo x > {place}/{name}/new && rm {place}/{name}/new") == ("", 0)


@pytest.mark.parametrize(
    "name", ["", "data", "data/drop/kept", "work/.git/hooks", "work/skills", "work/secret", "data/other"]
)
def test_all_else_can_not(executor: SrtExecutor, place: Path, name: str) -> None:
    output, code = executor.execute_bash(f"echo x > {place}/{name}/new")
    assert code != 0, output
    assert not (place / name / "new").exists()


def test_single_files_are_as_the_policy_says(executor: SrtExecutor, place: Path) -> None:
    for name in ("work/.bashrc", "work/token", "data/file", "data/drop/kept/file"):
        assert executor.execute_bash(f"echo x > {place}/{name}")[1] != 0
        assert (place / name).read_text() == "before"
    assert executor.execute_bash(f"cat {place}/data/file {place}/work/file") == ("beforebefore", 0)


def test_what_is_hidden_stays_so(executor: SrtExecutor, place: Path) -> None:
    output, _ = executor.execute_bash(f"ls -A secret {place}/data/other | grep -v :; cat token secret/key 2>/dev/null")
    assert output.strip() == ""
