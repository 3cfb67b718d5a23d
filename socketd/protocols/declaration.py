"""
Where L{socketd.protocols.spec} was, with its earlier names: protocols of other packages may still
import it.
"""

from __future__ import annotations

from socketd.protocols.spec import ProtocolContext as Surroundings
from socketd.protocols.spec import ProtocolSpec as Declaration

__all__ = ["Declaration", "Surroundings"]
