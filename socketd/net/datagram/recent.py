"""What is remembered of the sources of datagrams."""

from __future__ import annotations

from typing import Any

#: Entries of one generation. With two of them 4096 clients, as many as the rates know, are never
#: forgotten while they ask; a table takes 5 MB at most, also when sources are forged.
GENERATION = 4096


class Recent(dict[bytes, Any]):
    """
    A bounded table: the younger generation of its entries; a full one becomes the older one, in
    place of the last one. What is looked for there becomes young again.
    """

    def __init__(self) -> None:
        super().__init__()
        self._older: dict[bytes, Any] = {}

    def remember(self, key: bytes, value: Any) -> None:
        """Add an entry."""
        if len(self) >= GENERATION:
            self._older = dict(self)
            self.clear()
        self[key] = value

    def recall(self, key: bytes, default: Any = None) -> Any:
        """Look an entry up in both generations."""
        if key in self:
            return self[key]
        if key not in self._older:
            return default
        value = self._older.pop(key)
        self.remember(key, value)
        return value

    def forget(self) -> None:
        """Remove all entries."""
        self.clear()
        self._older.clear()
