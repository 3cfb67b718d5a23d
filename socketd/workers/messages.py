"""
The settings, on their way from the master to a worker.

They go as the master has read them: no worker reads a file that may have changed since.
"""

from __future__ import annotations

import pickle
from typing import Any

from attrs import evolve

from socketd.protocols.registry import installed
from socketd.settings.model import Settings


def pack(settings: Settings) -> bytes:
    """Pickle settings; a protocol goes by its name."""
    none: Any = None
    bare = [evolve(one, declared=none) for one in settings.services]
    return pickle.dumps(evolve(settings, services=tuple(bare)))


def unpack(packed: bytes) -> Settings:
    """Undo L{pack}, in a worker: the master is trusted."""
    settings: Settings = pickle.loads(packed)
    protocols = installed()
    services = (evolve(one, declared=protocols[one.protocol]) for one in settings.services)
    return evolve(settings, services=tuple(services))
