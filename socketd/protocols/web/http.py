"""C{http}: tells each request what it was, on Twisted's HTTP server."""

from __future__ import annotations

from socketd.protocols.spec import ProtocolSpec
from socketd.protocols.web.channel import Channel
from socketd.protocols.web.options import HttpOptions, refusals

declaration = ProtocolSpec(
    options=HttpOptions,
    stream=lambda options, context: Channel(options, context),
    refusals=refusals,
)
