"""PostgreSQL and Valkey as child processes on private Unix sockets.

Knows nothing of what is stored in them.
"""

from __future__ import annotations

from atelier.up.engines.errors import EngineError
from atelier.up.engines.postgres import launch_postgres, start_postgres
from atelier.up.engines.process import Engine, die_with_parent
from atelier.up.engines.valkey import launch_valkey, start_valkey

__all__ = [
    "Engine",
    "EngineError",
    "die_with_parent",
    "launch_postgres",
    "launch_valkey",
    "start_postgres",
    "start_valkey",
]
