from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

CONFTEST = """
from __future__ import annotations
from tests.skip_policy import SkipPolicy

def pytest_configure(config):
    config.pluginmanager.register(SkipPolicy.of_environment(), "agentd-skip-policy")
"""

ROOT = Path(__file__).parents[3]


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """An empty test suite under the policy, outside of CI."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeconftest(CONFTEST)
    return pytester


def outcomes(suite: pytest.Pytester, body: str, *args: str) -> dict[str, int]:
    """Run the body as a test file; a test that fails in its call and one that fails in its set-up count alike."""
    suite.makepyfile(f"from __future__ import annotations\nimport pytest\n\n{body}")
    counts = suite.runpytest(*args, "-p", "no:asyncio", "-p", "no:cacheprovider").parseoutcomes()
    refused = counts.pop("failed", 0) + counts.pop("errors", 0)
    return counts | ({"refused": refused} if refused else {})


SKIP = """
@pytest.mark.skip(reason="{reason}")
def test_left_out(): ...
"""


def test_outside_of_ci_a_skip_with_a_reason_is_a_skip(suite: pytest.Pytester) -> None:
    assert outcomes(suite, SKIP.format(reason="no bubblewrap")) == {"skipped": 1}


@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["alone", "xdist"])
def test_in_ci_a_skip_for_what_could_be_installed_fails(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: list[str]
) -> None:
    monkeypatch.setenv("CI", "true")
    assert outcomes(suite, SKIP.format(reason="no bubblewrap"), *workers) == {"refused": 1}


def test_in_ci_what_is_not_installable_may_be_skipped(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    assert outcomes(suite, SKIP.format(reason="not installable: no KVM")) == {"skipped": 1}


def test_the_summary_shows_the_reason(suite: pytest.Pytester) -> None:
    suite.makepyfile("import pytest\n" + SKIP.format(reason="not installable: no KVM"))
    suite.runpytest("-ra", "-p", "no:asyncio").stdout.fnmatch_lines(["SKIPPED*not installable: no KVM"])


@pytest.mark.parametrize(
    "body",
    [
        "@pytest.mark.skip\ndef test_left_out(): ...",
        "def test_left_out(): pytest.skip()",
        "@pytest.mark.xfail\ndef test_left_out(): assert False",
    ],
    ids=["mark", "call", "expected failure"],
)
def test_a_skip_without_a_reason_fails_everywhere(suite: pytest.Pytester, body: str) -> None:
    assert outcomes(suite, body) == {"refused": 1}


@pytest.mark.parametrize(
    "body",
    [
        "@pytest.fixture\ndef broken(): pytest.skip('no node')\n\ndef test_left_out(broken): ...",
        "pytest.importorskip('no_such_module')\n\ndef test_left_out(): ...",
        "pytest.skip('no node', allow_module_level=True)",
        "@pytest.mark.xfail(reason='to do')\ndef test_left_out(): assert False",
        "def test_left_out(): pytest.xfail('to do')",
    ],
    ids=["fixture", "importorskip", "module", "expected failure mark", "expected failure call"],
)
def test_in_ci_every_way_of_leaving_a_test_out_fails(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    monkeypatch.setenv("CI", "true")
    assert outcomes(suite, body) == {"refused": 1}


def test_a_refused_skip_fails_the_run(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    suite.makepyfile("import pytest\n" + SKIP.format(reason="no bubblewrap"))
    assert suite.runpytest("-p", "no:asyncio").ret == pytest.ExitCode.TESTS_FAILED
