"""What is said to srt is what this version of srt knows: it leaves out keys that it does not, without a word."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from agentd.executors.policy import Policy
from agentd.executors.srt_settings import Place, write_settings
from tests.integration.executors.srt_rig import PACKAGE, need_srt

pytestmark = pytest.mark.srt

CHECK = """
import { isDeepStrictEqual } from 'node:util'
const { SandboxRuntimeConfigSchema } = await import(process.argv[1])
let text = ''
for await (const piece of process.stdin) text += piece
for (const settings of JSON.parse(text)) {
  const read = SandboxRuntimeConfigSchema.safeParse(settings)
  const same = isDeepStrictEqual(read.data, settings) ? 'same' : 'lost'
  console.log(read.success ? same : JSON.stringify(read.error.issues))
}
"""


def judged(settings: list[object]) -> list[str]:
    library = (PACKAGE / "dist" / "index.js").as_uri()
    argv = ["node", "--input-type=module", "-e", CHECK, library]
    done = subprocess.run(argv, input=json.dumps(settings), capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_every_policy_becomes_settings_that_srt_knows(tmp_path: Path) -> None:
    need_srt()
    (tmp_path / "work" / ".git").mkdir(parents=True)
    (tmp_path / "[odd] *name?").mkdir()
    policies = [
        Policy(),
        Policy(readable=(str(tmp_path),), hidden=(".git",), protected=("**/.git/hooks",), processes=None),
        Policy.model_validate({"allowed_domains": ["github.com", "*.python.org", "localhost", "a.example:443"]}),
        Policy.model_validate({"allowed_domains": ["a.example"], "denied_domains": ["*", "b.example:1", "*:22"]}),
        Policy.model_validate({"private_networks": ["10.0.0.0/8", "192.168.1.7", "fd00::/8", "127.0.0.0/8"]}),
    ]
    place = Place(
        "/usr/bin/bwrap", "/usr/bin/socat", "/usr/bin/rg", Path("/x/apply-seccomp"), tmp_path / "[odd] *name?"
    )
    settings: list[object] = [write_settings(policy, tmp_path / "work", place) for policy in policies]
    assert judged(settings) == ["same"] * len(policies)


def test_the_check_finds_a_key_that_srt_does_not_know(tmp_path: Path) -> None:
    need_srt()
    place = Place("/usr/bin/bwrap", "/usr/bin/socat", "/usr/bin/rg", Path("/x/apply-seccomp"), tmp_path)
    settings = dict(write_settings(Policy(), tmp_path, place))
    assert judged([{**settings, "allow_write": []}, {**settings, "bwrapPath": "bwrap"}])[0] == "lost"
    assert "must be absolute" in judged([{**settings, "bwrapPath": "bwrap"}])[0]
