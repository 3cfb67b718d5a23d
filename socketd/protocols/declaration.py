"""
Where L{socketd.protocols.spec} was: protocols of other packages may still import it.
"""

from __future__ import annotations

from socketd.protocols.spec import Declaration, Surroundings

__all__ = ["Declaration", "Surroundings"]
