"""PostgreSQL and Valkey as child processes on private Unix sockets; knows nothing of what is stored in them."""

from __future__ import annotations

from atelier.engines.errors import EngineError
from atelier.engines.postgres import launch_postgres, start_postgres
from atelier.engines.process import Engine, die_with_parent
from atelier.engines.valkey import launch_valkey, start_valkey

__all__ = [
    "Engine",
    "EngineError",
    "die_with_parent",
    "launch_postgres",
    "launch_valkey",
    "start_postgres",
    "start_valkey",
]
