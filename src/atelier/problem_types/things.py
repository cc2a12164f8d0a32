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
    "picture-in-use": ProblemType(
        "Tasks are made of this picture",
        409,
        "A picture of which tasks are made is neither deleted nor moved: their answers are "
        "somebody's work. Delete the tasks first, or their queue with them.",
    ),
    "not-ready": ProblemType(
        "This is still being processed",
        404,
        "The picture is still being processed.",
        "`Retry-After`",
    ),
    "processing-failed": ProblemType(
        "This could not be processed",
        404,
        "The picture could not be processed; `detail` says why, and an image's record in `error`.",
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
    "task-of-picture": ProblemType(
        "A task of a stored picture cannot be moved",
        409,
        "A task that is made of a stored picture stays in the space of the picture.",
    ),
    "no-answer": ProblemType(
        "This task has no answer yet",
        409,
        "There is no answer to be corrected: take the task and complete it.",
    ),
    "already-queued": ProblemType(
        "The queue has a task of this picture",
        409,
        "A picture is once in a queue. Or its processing has failed, so that there is nothing to "
        "look at.",
    ),
    "queue-not-empty": ProblemType(
        "There are tasks in this queue",
        409,
        "A queue is deleted with its tasks only if that is asked for, by `?with_tasks=true`: "
        "answers go with them.",
    ),
    "too-many-queues": ProblemType(
        "A space has no room for another queue",
        409,
        "The space has as many queues as it may. Delete one first.",
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
EVENTS = {
    "log-pruned": ProblemType(
        "The log has been pruned beyond this position",
        410,
        "Events after this position are older than the setting `outbox_retention_days` and are "
        "gone. Read anew what you keep a copy of, and go on from the position that `GET "
        "/api/events` gives without `after`.",
    ),
    "log-ahead": ProblemType(
        "The log has not come to this position",
        410,
        "The position lies beyond the end of the log, as after a restore from a backup. Read anew "
        "what you keep a copy of, and go on from the position that `GET /api/events` gives "
        "without `after`.",
    ),
}
