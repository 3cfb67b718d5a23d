"""
The former name of L{socketd.protocols.spec}, with the former class names, kept for protocols of
other packages.
"""

from __future__ import annotations

from socketd.protocols.spec import ProtocolContext as Surroundings
from socketd.protocols.spec import ProtocolSpec as Declaration

__all__ = ["Declaration", "Surroundings"]
