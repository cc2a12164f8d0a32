"""Bounds the work of reading one header, whatever its bytes say."""

from __future__ import annotations

from dataclasses import dataclass

# Structures that a reader looks at: segments, chunks, blocks, directories and their entries. A
# photograph has tens, a PNG of 100 MiB in chunks of 8 KiB has 12,800. One costs about a
# microsecond.
STEPS = 20_000
# A profile is inflated to tell its name, which stands near its beginning.
INFLATED_BYTES = 1 << 20
# Deflate's most expensive blocks produce nothing, so its input is bounded as well as its output.
DEFLATED_BYTES = 64 << 10


@dataclass(slots=True)
class Budget:
    """What is left for reading one header."""

    steps: int = STEPS
    inflated: int = INFLATED_BYTES
    deflated: int = DEFLATED_BYTES

    def spend(self, steps: int = 1) -> bool:
        """Takes `steps`; False, and takes nothing, if so many are not left."""
        if steps > self.steps:
            return False
        self.steps -= steps
        return True
