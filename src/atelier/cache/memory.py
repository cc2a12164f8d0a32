"""An LRU of bytes in this process, for blobs, which never change under their keys.

Knows no other process.
"""

from __future__ import annotations

from collections import OrderedDict

# One blob may take this part of the room, so that a large one does not evict all others.
LARGEST_SHARE = 8


class Memory:
    """The most recently used blobs, up to `max_bytes`, in this process.

    Only for values that never change under their key.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._values: OrderedDict[str, bytes] = OrderedDict()

    def get(self, key: str) -> bytes | None:
        """Return the value, or None."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: str, value: bytes) -> None:
        """Keep a value; evict those not used for longest.

        A value above an eighth of the room is not kept.
        """
        if len(value) > self.max_bytes // LARGEST_SHARE:
            return
        self.bytes += len(value) - len(self._values.pop(key, b""))
        self._values[key] = value
        while self.bytes > self.max_bytes:
            self.bytes -= len(self._values.popitem(last=False)[1])
