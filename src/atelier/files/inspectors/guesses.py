"""What is guessed about a text, and how sure it is."""

from __future__ import annotations

from typing import Any, NamedTuple

SURE = 0.8  # the least confidence at which an encoding is named


class Guess(NamedTuple):
    """The likeliest encoding, and the probability that it reads the text as it was written."""

    encoding: str
    confidence: float = 1.0

    @property
    def sure(self) -> bool:
        """True if the encoding may be named."""
        return self.confidence >= SURE

    def result(self) -> dict[str, Any]:
        """The members of a result: a wrong name is worse than none."""
        named = self.encoding if self.sure else None
        return {"encoding": named, "confidence": self.confidence}
