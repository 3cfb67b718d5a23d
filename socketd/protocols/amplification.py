"""The option that allows a reply to be longer than its request datagram."""

from __future__ import annotations

from typing import Any

from socketd.settings.options import option
from socketd.settings.value_types import SIZE, within

#: The longest reply of RFC 865, in bytes; more would only help amplification attacks.
MAX_AMPLIFY = 512


def udp_amplify_option() -> Any:
    """Declare C{udp_amplify}; C{reply_floor} of the protocol's specification must return it."""
    return option(
        within(SIZE, 0, MAX_AMPLIFY, f"write 0 to {MAX_AMPLIFY}"),
        0,
        "Answer a datagram with up to so many bytes however short it is.",
    )
