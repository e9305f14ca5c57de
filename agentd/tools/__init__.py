"""Python functions as tools."""

from __future__ import annotations

from agentd.tools.decorator import as_tool, registered, tool
from agentd.tools.local import BlockingLocalTool, LocalTool

__all__ = ["tool", "registered", "as_tool", "LocalTool", "BlockingLocalTool"]
