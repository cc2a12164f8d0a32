"""`atelier up` with small real roles in place of the real ones; run as `python house.py DATA PORT [FLAG...]`."""

from __future__ import annotations

import sys
from pathlib import Path

from atelier.cli import load
from atelier.errors import AtelierError
from atelier.roles import up
from atelier.roles.up.table import Role

HERE = Path(__file__).parent
FLAGS = set(sys.argv[3:])


def role(name: str, *arguments: str, drain_seconds: float = 5, door: bool = False) -> Role:
    """A script of this folder as a role."""
    return Role(name, ("-P", str(HERE / "member.py"), name, *arguments), drain_seconds=drain_seconds, door=door)


ROLES = [role("api", "serve", door=True), role("worker", "work")]
if "stubborn" in FLAGS:
    ROLES.append(role("stubborn", "refuse", drain_seconds=600 if "patient" in FLAGS else 0.5))
if "misconfigured" in FLAGS:
    ROLES.append(role("misconfigured", "misuse"))
if "mortal" in FLAGS:
    ROLES.append(role("mortal", "die"))
if "slow" in FLAGS:
    ROLES.append(role("dawdler", "dawdle", door="hidden" not in FLAGS))
if "impatient" in FLAGS:
    up.IMPATIENT_SECONDS = 0.5
if "talker" in FLAGS:
    ROLES.append(role("talker", "talk"))
PREPARE = role("migrate", "fail" if "broken" in FLAGS else "prepare")

if __name__ == "__main__":
    try:
        sys.exit(up.main(load(data=sys.argv[1], port=int(sys.argv[2])), ROLES, PREPARE))
    except AtelierError as error:
        print(f"atelier: {error.detail or error.title}", file=sys.stderr)  # noqa: T201 - as the command does
        sys.exit(2)
