"""The open files that a process may have, sockets included: its soft limit becomes the hard one.

Login shells and systemd start programs with a soft limit of 1,024 for the sake of those that call
select(); a thousand idle clients would use it up. What a process starts inherits the limit.
"""

from __future__ import annotations

import resource
from contextlib import suppress

OPEN_FILES = 65_536  # enough; the hard limit may be a billion or none
RESERVED_FILES = 64  # of logs, engines and other servers
FILES_PER_CONNECTION = 2  # the socket, and a file that is sent or spooled


def raise_open_files() -> int:
    """Raise the soft limit as far as it goes, `OPEN_FILES` at most; return what it is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # macOS has a lower limit beside the hard one
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def most_connections() -> int:
    """Return how many connections of clients leave open files for everything else."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files == resource.RLIM_INFINITY:
        files = OPEN_FILES
    return max(1, (files - RESERVED_FILES) // FILES_PER_CONNECTION)
