"""Problems of what is kept: pictures, tasks, files, quotas and repeated requests."""

from __future__ import annotations

from atelier.problem_types.model import ProblemType

REPEATED = {
    "idempotency-key-reused": ProblemType(
        "This Idempotency-Key was used with other content",
        422,
        "This `Idempotency-Key` was used with other content.",
    ),
    "idempotency-key-running": ProblemType(
        "The first request with this Idempotency-Key is still running",
        409,
        "The first request with this `Idempotency-Key` is still running.",
        "`Retry-After`",
    ),
}
QUOTAS = {
    "quota-exceeded": ProblemType(
        "Your quota is used up",
        403,
        "You may not keep more pictures, tasks and files, or not so many bytes (the settings "
        "`quota_objects` and `quota_bytes`); `detail` says how much is used. What you delete "
        "makes room at once.",
    ),
}
IMAGES = {
    "not-ready": ProblemType(
        "This is still being processed",
        404,
        "The picture is still being processed.",
        "`Retry-After`",
    ),
    "processing-failed": ProblemType(
        "This could not be processed",
        404,
        "The picture could not be processed; `detail` and the record's `error` say why.",
    ),
    "not-an-image": ProblemType(
        "This is not an image of a kind that can be decoded here",
        415,
        "The file has none of the picture formats that are accepted.",
    ),
    "too-many-pixels": ProblemType(
        "The picture has more pixels than the limit",
        422,
        "The picture has more pixels than the setting `pixel_limit` allows.",
    ),
    "bad-picture": ProblemType(
        "The picture is damaged and cannot be decoded",
        415,
        "The file is a picture, but it is damaged and cannot be decoded, or its header is so long "
        "that its size is not found.",
    ),
    "queue-full": ProblemType(
        "Too many jobs are waiting",
        503,
        "Too many pictures are waiting to be processed.",
        "`Retry-After`",
    ),
}
TASKS = {
    "no-free-task": ProblemType(
        "None of your tasks is free",
        404,
        "None of your tasks is free. Wait a little and ask again, or create a task.",
    ),
    "task-leased": ProblemType(
        "A task that is leased stays in its space",
        409,
        "One of the tasks is leased, so none was moved. Move them once the lease has ended.",
    ),
    "lease-lost": ProblemType(
        "This lease has ended",
        409,
        "The lease of this task ran out, was released or completed, or never was. Take a task "
        "again.",
    ),
}
FILES = {
    "no-file": ProblemType(
        "The form has no file",
        400,
        "The form has no file in its part `file`. A file in another part is not read.",
    ),
    "empty-file": ProblemType(
        "The file is empty",
        400,
        "The file has no bytes.",
    ),
    "not-failed": ProblemType(
        "Only what has failed can be retried",
        409,
        "Only a file or an image whose processing failed can be retried.",
    ),
}
