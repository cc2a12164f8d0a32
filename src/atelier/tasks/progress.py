"""How far a queue is: its tasks by state, and who answered how many of them when."""

from __future__ import annotations

from typing import Any

from atelier.database import Database

HOURS = 24 * 14  # of the latest answers, told hour by hour
_STATES = """
    SELECT count(*) FILTER (WHERE free) AS free,
        count(*) FILTER (WHERE NOT free AND completed_at IS NULL) AS taken,
        count(completed_at) AS done
    FROM tasks WHERE queue_id = $1
"""
_PEOPLE = """
    SELECT answers.user_id, users.name, count(*) AS done, round(avg(seconds)::numeric, 1)::float8
        AS seconds, max(at) AS last_at
    FROM answers LEFT JOIN users ON users.id = answers.user_id
    WHERE queue_id = $1 GROUP BY answers.user_id, users.name ORDER BY done DESC, user_id
"""
_HOURS = f"""
    SELECT date_trunc('hour', at, 'UTC') AS hour, user_id, count(*) AS done FROM answers
    WHERE queue_id = $1 AND at > clock_timestamp() - interval '{HOURS} hours'
    GROUP BY hour, user_id ORDER BY hour, user_id
"""


async def progress(database: Database, queue_id: int) -> dict[str, Any]:
    """The progress of a queue as its JSON has it."""
    (states,) = await database.fetch(_STATES, queue_id)
    people = await database.fetch(_PEOPLE, queue_id)
    hours = await database.fetch(_HOURS, queue_id)
    parts = {"people": [dict(row) for row in people], "hours": [dict(row) for row in hours]}
    return dict(states) | parts
