"""Names that a policy allows are reached through srt's proxy, and nothing else is."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.executors.srt import SrtExecutor
from tests.integration.executors.srt_rig import PACKAGE, need_srt, server

pytestmark = [pytest.mark.srt, pytest.mark.xdist_group("srt-network")]

LOOPBACK = ["127.0.0.0/8", "::1/128"]


@pytest.fixture(scope="module")
def ports() -> Iterator[tuple[int, int]]:
    with server() as allowed, server() as other:
        yield allowed, other


@pytest.fixture(scope="module")
def executor(ports: tuple[int, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[SrtExecutor]:
    need_srt()
    policy = {
        "allowed_domains": [f"localhost:{ports[0]}", "allowed.example"],
        "denied_domains": ["denied.example"],
        "private_networks": LOOPBACK,
    }
    with SrtExecutor(tmp_path_factory.mktemp("srt") / "work", policy=policy, srt_path=PACKAGE) as executor:
        yield executor


def fetch(executor: SrtExecutor, url: str) -> tuple[int, str]:
    """Ask for a page from inside through the proxy that the environment names; return status and text."""
    code = f"""
        import json, os, urllib.error, urllib.request
        proxies = {{"http": os.environ["HTTP_PROXY"]}}
        os.environ.pop("no_proxy", None), os.environ.pop("NO_PROXY", None)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
        try:
            with opener.open({url!r}, timeout=10) as answer:
                print(json.dumps([answer.status, answer.read().decode()]))
        except urllib.error.HTTPError as error:
            print(json.dumps([error.code, error.read().decode()]))
    """
    output, exit_code = executor.execute_python(textwrap.dedent(code))
    assert exit_code == 0, output
    status, text = json.loads(output.splitlines()[0])
    return status, text


def test_an_allowed_name_is_reached(executor: SrtExecutor, ports: tuple[int, int]) -> None:
    assert fetch(executor, f"http://localhost:{ports[0]}/") == (200, "hello")


def test_curl_finds_the_proxy_by_itself(executor: SrtExecutor, ports: tuple[int, int]) -> None:
    output, code = executor.execute_bash(f"curl -s --noproxy '' http://localhost:{ports[0]}/")
    assert (output, code) == ("hello", 0)


@pytest.mark.parametrize(
    "url",
    ["http://localhost:{other}/", "http://127.0.0.1:{allowed}/", "http://[::1]:{allowed}/", "http://example.org/",
     "http://denied.example/", "http://2130706433:{allowed}/"],
)  # fmt: skip
def test_all_else_is_refused(executor: SrtExecutor, ports: tuple[int, int], url: str) -> None:
    status, text = fetch(executor, url.format(allowed=ports[0], other=ports[1]))
    assert status == 403, text


def test_the_machine_is_not_reached_directly(executor: SrtExecutor, ports: tuple[int, int]) -> None:
    output, code = executor.execute_bash(f"curl -s --noproxy '*' -m 3 http://127.0.0.1:{ports[0]}/")
    assert (output, code) == ("", 7)


def test_the_proxy_wants_its_key(executor: SrtExecutor, ports: tuple[int, int]) -> None:
    asked = (
        f"curl -s -o /dev/null -w '%{{http_code}}' --noproxy '' -x http://localhost:3128 http://localhost:{ports[0]}/"
    )
    assert executor.execute_bash(asked)[0] == "407"


def test_the_key_of_the_proxy_is_on_no_command_line(executor: SrtExecutor) -> None:
    output, _ = executor.execute_bash("echo $HTTP_PROXY")
    key = output.strip().rpartition("@")[0].rpartition(":")[2]
    assert len(key) == 32
    lines = [line for file in Path("/proc").glob("[0-9]*/cmdline") if key.encode() in (line := _read(file))]
    assert lines == []


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


def test_a_name_of_the_machine_itself_is_not_public(ports: tuple[int, int], tmp_path: Path) -> None:
    need_srt()
    with SrtExecutor(tmp_path / "work", policy={"allowed_domains": ["localhost"]}, srt_path=PACKAGE) as executor:
        assert fetch(executor, f"http://localhost:{ports[0]}/")[0] == 403
