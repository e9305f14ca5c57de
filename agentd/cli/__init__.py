"""The `agentd` command."""

from __future__ import annotations
