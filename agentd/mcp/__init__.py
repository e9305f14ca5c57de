"""MCP servers as tools; the only home of the `mcp` SDK, which is imported at the first connection."""

from __future__ import annotations
