"""Tools made importable: Python functions, Agent Skills folders, and what the prompt says of them."""

from __future__ import annotations

from agentd.skills.catalogue import Catalogue, Entry
from agentd.skills.generate import bindings, generate
from agentd.skills.install import install
from agentd.skills.prompt import extend, guidance
from agentd.skills.shapes import Shape, shape_of

__all__ = ["Catalogue", "Entry", "generate", "install", "bindings", "guidance", "extend", "Shape", "shape_of"]
