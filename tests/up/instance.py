"""`atelier up` with small real roles in place of the real ones.

Run as `python instance.py DATA PORT [FLAG...]`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from atelier.cli import load
from atelier.errors import AtelierError
from atelier.settings import needs
from atelier.up import preflight, supervisor
from atelier.up.engines import orphans
from atelier.up.table import Role

HERE = Path(__file__).parent
FLAGS = set(sys.argv[3:])
AMPLE_SECONDS = 600  # more than any test waits


def role(name: str, *arguments: str, drain: float = AMPLE_SECONDS, public: bool = False) -> Role:
    """A script of this folder as a role; `drain` in seconds."""
    command = ("-P", str(HERE / "member.py"), name, *arguments)
    return Role(name, command, drain_seconds=drain, public=public)


# The test's own roles use both engines and the secret, as the API does.
needs.NEEDS = {**needs.NEEDS, "worker": needs.NEEDS["api"]}  # type: ignore[dict-item]
ROLES = [role("api", "serve", public=True), role("worker", "work")]
if "stubborn" in FLAGS:
    ROLES.append(role("stubborn", "refuse", drain=AMPLE_SECONDS if "patient" in FLAGS else 0.5))
if "misconfigured" in FLAGS:
    ROLES.append(role("misconfigured", "misuse"))
if "mortal" in FLAGS:
    ROLES.append(role("mortal", "die"))
if "slow" in FLAGS:
    ROLES.append(role("dawdler", "dawdle", public="hidden" not in FLAGS))
orphans.ORPHAN_SECONDS, orphans.KILL_SECONDS = (
    (0.2, 1) if "impatient" in FLAGS else (AMPLE_SECONDS, AMPLE_SECONDS)
)
supervisor.IMPATIENT_SECONDS = 0.5 if "impatient" in FLAGS else AMPLE_SECONDS
preflight.LOCK_PATIENCE_SECONDS = AMPLE_SECONDS
if "talker" in FLAGS:
    ROLES.append(role("talker", "talk"))
PREPARES = {"broken": "fail", "unlucky": "lose_once", "cursed": "lose"}
PREPARE = role("migrate", next((PREPARES[flag] for flag in FLAGS & set(PREPARES)), "prepare"))

if __name__ == "__main__":
    try:
        sys.exit(supervisor.main(load(data=sys.argv[1], port=int(sys.argv[2])), ROLES, PREPARE))
    except AtelierError as error:
        print(f"atelier: {error.detail or error.title}", file=sys.stderr)  # noqa: T201 - as the command does
        sys.exit(2)
