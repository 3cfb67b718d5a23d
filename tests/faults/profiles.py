"""Makes fault profiles from their text, and the faults of a service."""

from __future__ import annotations

from socketd.faults.service_faults import ServiceFaults
from socketd.settings.faults.profile import FaultProfile
from tests.settings.refusals import parsed


def make_profile(*options: str, name: str = "flaky") -> FaultProfile:
    """Read a profile with these options, such as C{loss = 10%}."""
    lines = "\n".join(options)
    text = f"[echo]\nlisten = tcp:7\n[fault:{name}]\n{lines}\n"
    return parsed(text).faults[name]


def make_faults(*options: str, service: str = "echo") -> ServiceFaults:
    """Make the faults of a service with a profile that has these options."""
    return ServiceFaults(make_profile(*options), service)
