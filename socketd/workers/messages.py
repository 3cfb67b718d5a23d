"""
What is pickled between master and worker.

The settings go as the master has read them: no worker reads a file that may have changed since.
Whatever a worker is made to say, unpickling it makes plain values and the classes of a snapshot.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

from attrs import evolve

from socketd.protocols.registry import installed
from socketd.settings.model import Settings

#: The classes that a frame may have, by module, besides plain values.
_CLASSES = {
    "collections": {"Counter", "OrderedDict"},
    "socketd.common.counters": {"Counters"},
    "socketd.daemon.snapshot": {
        "CertificatesSnapshot", "FaultSnapshot", "ServiceSnapshot", "Snapshot",
    },
    "socketd.daemon.state": {"State"},
    "socketd.settings.listeners": {"Listener"},
}  # fmt: skip


class _Unpickler(pickle.Unpickler):
    """Makes nothing but these classes."""

    def find_class(self, module: str, name: str) -> Any:
        if name not in _CLASSES.get(module, ()):
            raise pickle.UnpicklingError(f"{module}.{name} is not for the link")
        return super().find_class(module, name)


def loads(frame: bytes) -> Any:
    """Unpickle a frame."""
    return _Unpickler(io.BytesIO(frame)).load()


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
