"""Connections that clients hold open to one process: so many of one network, so many in all.

A client is what `networks` counts as one. A proxy that is trusted stands for many clients and
counts in the total only.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from enum import IntEnum
from ipaddress import ip_address, ip_network

from atelier.wire.networks import client_network, plain_address

RETRY_SECONDS = 20  # suggested to who is refused: idle connections have been closed by then
LOG_SECONDS = 60.0  # between two log lines about refusals

log = logging.getLogger(__name__)


class Refused(IntEnum):
    """Why a connection is not taken, as the status of its answer."""

    CLIENT_FULL = 429
    FULL = 503


class Quota:
    """The connections of one server."""

    def __init__(self, per_client: int, total: int, proxies: Sequence[str] = ()) -> None:
        """With `per_client` above half of `total` half counts: one client must not have it all.

        `proxies` are addresses and networks.
        """
        self.per_client = max(1, min(per_client, total // 2))
        self.total = total
        self._proxies = tuple(ip_network(proxy) for proxy in proxies)
        self._of: Counter[str] = Counter()
        self.open = 0  # connections, of all
        self._logged = -LOG_SECONDS

    def take(self, address: str) -> Refused | None:
        """Count a connection from an address until `give_back`, or say why it is refused."""
        client = client_network(address)
        if self.open >= self.total:
            return self._refuse(Refused.FULL, client)
        if self._of[client] >= self.per_client and not self._is_proxy(address):
            return self._refuse(Refused.CLIENT_FULL, client)
        self._of[client] += 1
        self.open += 1
        return None

    def give_back(self, address: str) -> None:
        """A connection that was taken has ended."""
        client = client_network(address)
        self.open -= 1
        self._of[client] -= 1
        if not self._of[client]:
            del self._of[client]

    def _is_proxy(self, address: str) -> bool:
        if not self._proxies:
            return False
        ip = ip_address(plain_address(address))
        return any(ip in proxy for proxy in self._proxies)

    def _refuse(self, why: Refused, client: str) -> Refused:
        now = time.monotonic()
        if now - self._logged >= LOG_SECONDS:
            self._logged = now
            log.warning(
                "a connection from %s is refused: %d are open from there, %d in all",
                client,
                self._of[client],
                self.open,
            )
        return why
