"""Reasons in the record of a picture or file that failed; no response has them."""

from __future__ import annotations

from atelier.problem_types.model import ProblemType

REASONS = {
    "decode-failed": ProblemType(
        "The decoder failed on this content",
        None,
        "The content could not be decoded.",
    ),
    "decode-timeout": ProblemType(
        "Decoding took too long",
        None,
        "Decoding took longer than the setting `decode_seconds` allows.",
    ),
    "decode-memory": ProblemType(
        "Decoding needs too much memory",
        None,
        "Decoding needed more memory than the setting `decode_memory` allows.",
    ),
    "decode-crashed": ProblemType(
        "The decoder crashed on this content",
        None,
        "The decoder crashed on this content; nothing else was harmed.",
    ),
    "not-processed": ProblemType(
        "Every attempt to process this failed",
        None,
        "Every attempt failed for a reason that does not lie in the content; the log has it.",
    ),
    "bad-size": ProblemType(
        "The size is out of range",
        None,
        "The size of captions in the settings is out of range.",
    ),
    "bad-font": ProblemType(
        "The font cannot be used",
        None,
        "The font of captions in the settings (`caption_font`) cannot be used. The image "
        "processor does not start with such a font.",
    ),
    "too-large-to-inspect": ProblemType(
        "The file is too large to be looked into",
        None,
        "Files of this kind are not inspected at this size.",
    ),
    "bad-archive": ProblemType(
        "The archive is damaged and cannot be read",
        None,
        "The archive is damaged.",
    ),
    "archive-bomb": ProblemType(
        "The archive unpacks to far more than an honest one",
        None,
        "The archive unpacks to far more than an ordinary one of its size.",
    ),
    "too-many-entries": ProblemType(
        "The archive has too many entries",
        None,
        "The archive has too many entries.",
    ),
    "bad-pdf": ProblemType(
        "The PDF is damaged and cannot be read",
        None,
        "The PDF is damaged.",
    ),
}
