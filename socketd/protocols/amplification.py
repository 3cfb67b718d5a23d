"""
The option with which an answer may be longer than the datagram that asks for it.
"""

from __future__ import annotations

from typing import Any

from socketd.settings.options import option
from socketd.settings.value_types import SIZE, within

#: The longest answer that RFC 865 knows; more serves nobody but an attacker.
MAX_AMPLIFY = 512


def udp_amplify_option() -> Any:
    """
    Declare C{udp_amplify}; the declaration's C{reply_floor} has to give it.
    """
    return option(
        within(SIZE, 0, MAX_AMPLIFY, f"write 0 to {MAX_AMPLIFY}"),
        0,
        "Answer a datagram with up to so many bytes however short it is.",
    )
