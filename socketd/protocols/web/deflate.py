"""C{permessage-deflate} (RFC 7692) with bounds."""

from __future__ import annotations

import zlib
from typing import Any

from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason


class BoundedDeflate(PerMessageDeflate):
    """
    wsproto's C{permessage-deflate}, in which a few bytes do not become many.

    No side takes its window over to the next message: what is kept for that would be 300 KiB for
    each connection.
    """

    def __init__(self, max_message: int) -> None:
        """@param max_message: the longest message (bytes)."""
        super().__init__(client_no_context_takeover=True, server_no_context_takeover=True)
        self._max_message = max_message
        self._compressed = 0

    def accept(self, offer: str) -> bool | None | str:
        """Accept an offer; one that is not written as it should be is declined."""
        try:
            return super().accept(offer)
        except ValueError:
            return None

    def frame_inbound_payload_data(self, proto: Any, data: bytes) -> bytes | CloseReason:
        """Decompress a part of a message, which may not be longer than a whole one."""
        if not self._inbound_compressed or not self._inbound_is_compressible:
            return super().frame_inbound_payload_data(proto, data)
        assert self._decompressor is not None
        self._compressed += len(data)
        try:
            result = self._decompressor.decompress(data, self._max_message + 1)
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        # What cannot be compressed grows by less than an eighth.
        limit = self._max_message + self._max_message // 8 + 64
        if self._decompressor.unconsumed_tail or self._compressed > limit:
            return CloseReason.MESSAGE_TOO_BIG
        return result

    def frame_inbound_complete(self, proto: Any, fin: bool) -> bytes | CloseReason | None:
        """Finish a frame."""
        if fin and self._inbound_is_compressible:
            self._compressed = 0
        return super().frame_inbound_complete(proto, fin)
