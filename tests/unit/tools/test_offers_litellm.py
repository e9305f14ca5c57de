"""LiteLLM changes nothing of the parameters that it is given for Gemini and Anthropic."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from agentd.core.tools import ToolSpec
from agentd.tools.offers import offers
from tests.fakes.catalogues import recorded
from tests.unit.tools.test_offers_schemas import BOMBS, CASES

# Imported in a process of its own: it takes seconds, and reads the user's environment.
TRANSLATE = """
import json, sys
from litellm.litellm_core_utils.prompt_templates.common_utils import sanitize_input_schema_for_anthropic
from litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini import VertexGeminiConfig
given = json.load(sys.stdin)
tools = [{"type": "function", "function": {"name": "t", "parameters": each}} for each in given["gemini"]]
mapped = VertexGeminiConfig()._map_function(tools, {})
json.dump({
    "gemini": [each.get("parameters") for each in mapped[0]["function_declarations"]],
    "anthropic": [sanitize_input_schema_for_anthropic(each) for each in given["anthropic"]],
}, sys.stdout)
"""


def test_what_litellm_sends_on_is_what_it_was_given() -> None:
    home = {"$defs": {"A": {"type": "integer"}}}
    schemas: list[Any] = [spec.input_schema for spec in recorded()]
    schemas += [{"type": "object", "properties": {"p": each}, **home} for each, _ in CASES.values()] + [*BOMBS.values()]
    specs = {str(number): ToolSpec("t", input_schema=each) for number, each in enumerate(schemas)}
    given = {kind: [offer.parameters for offer in offers(specs, kind)] for kind in ("gemini", "anthropic")}
    environment = os.environ | {"LITELLM_MODE": "PRODUCTION", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    command = [sys.executable, "-c", TRANSLATE]
    done = subprocess.run(
        command, input=json.dumps(given), env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    sent = json.loads(done.stdout)
    assert sent["anthropic"] == given["anthropic"]
    # An object without keys has no list of them for Gemini.
    assert sent["gemini"] == [{k: v for k, v in each.items() if k != "properties" or v} for each in given["gemini"]]
