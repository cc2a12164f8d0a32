"""Names by which a server may be called, as the header `Host` has them.

A page of somebody else's may let its own name lead to this machine (DNS rebinding): a browser then
lets it read what we answer, and the name in `Host` is all that tells.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address

ANY = "*"
LOCALHOST = "localhost"
REMEMBERED = 256  # headers that were judged, so that a request costs a look into a set


def is_loopback(name: str) -> bool:
    """Whether a name or address leads to this machine alone: `localhost`, 127.0.0.0/8, `::1`."""
    if name == LOCALHOST:
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def name_of(host: str) -> str:
    """The name or address in a `Host` header, without port and brackets, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].rstrip(".").lower()


class Hosts:
    """The names that a server answers to.

    `allowed` are names, addresses, `*.example.org` for every name below one, or `*` for any; none:
    where `listening` is a loopback address, names of this machine alone, elsewhere any.
    """

    def __init__(self, allowed: Collection[str], listening: str) -> None:
        names = {name_of(name) for name in allowed}
        self._loopback = not names and is_loopback(listening)
        self.any = ANY in names or not (names or self._loopback)
        self._names = frozenset(names)
        self._below = tuple(name[1:] for name in names if name.startswith("*."))
        self._accepted: set[bytes] = set()

    def accepts(self, host: bytes) -> bool:
        """Whether the server may be called so."""
        if self.any or host in self._accepted:
            return True
        name = name_of(host.decode("latin-1"))
        accepted = is_loopback(name) if self._loopback else self._is_named(name)
        if accepted and len(self._accepted) < REMEMBERED:
            self._accepted.add(host)
        return accepted

    def accepts_probe(self, host: bytes) -> bool:
        """The same for health checks, which also come by address, and from this machine.

        An orchestrator asks the address of a pod; no page can make a browser send one for a name.
        """
        name = name_of(host.decode("latin-1"))
        return self.accepts(host) or name == LOCALHOST or _is_address(name)

    def _is_named(self, name: str) -> bool:
        return name in self._names or name.endswith(self._below)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
