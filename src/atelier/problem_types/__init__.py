"""Every problem type that Atelier responds with: its title, its status and its meaning.

This table is behind the titles of errors, the pages under `/problems/` and, by `make docs`,
docs/reference/errors.md. A response whose slug is missing here has the type `about:blank`.
"""

from __future__ import annotations

from atelier.problem_types.accounts import ACCOUNTS, SPACES
from atelier.problem_types.general import GENERAL
from atelier.problem_types.model import ProblemType
from atelier.problem_types.reasons import REASONS
from atelier.problem_types.things import EVENTS, FILES, IMAGES, QUOTAS, REPEATED, TASKS

__all__ = ["BASE", "GROUPS", "PROBLEM_TYPES", "REASONS", "ProblemType"]

BASE = "/problems/"  # a type is a reference relative to the server

# By heading, in the order of the reference page.
GROUPS: dict[str, dict[str, ProblemType]] = {
    "By kind": GENERAL,
    "Accounts": ACCOUNTS,
    "Spaces": SPACES,
    "Repeated requests": REPEATED,
    "Quotas": QUOTAS,
    "Images": IMAGES,
    "Tasks": TASKS,
    "Files": FILES,
    "Events": EVENTS,
    "Reasons in records": REASONS,
}
PROBLEM_TYPES: dict[str, ProblemType] = {}
for _group in GROUPS.values():
    PROBLEM_TYPES |= _group
