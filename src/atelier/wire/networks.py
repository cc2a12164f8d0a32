"""The address of a client, and the network that is counted as one client.

Knows no framework: HTTP's and gRPC's edge, limits and logs ask here.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

NETWORK_BITS = 64  # of an IPv6 address: as a rule one subscriber has all of such a network
REMEMBERED = 4096  # IPv6 addresses whose plain form a process remembers
_NAT64 = ip_network("64:ff9b::/96")  # RFC 6052: the last 32 bits are the IPv4 address
_LOCAL_NAT64 = ip_network("64:ff9b:1::/48")  # RFC 8215


def plain_address(address: str) -> str:
    """Return an address as it is shown and compared: IPv4 where it embeds one, without a scope.

    What is no address, as the name of a test's client, is returned as it is.
    """
    return _plain(address) if ":" in address else address


def client_network(address: str) -> str:
    """Return what counts as one client: an IPv4 address, or an IPv6 network of 64 bits."""
    address = plain_address(address)
    if ":" not in address:
        return address
    try:
        return str(ip_network((address, NETWORK_BITS), strict=False))
    except ValueError:
        return address


@lru_cache(REMEMBERED)
def _plain(address: str) -> str:
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(_embedded(ip) or ip) if isinstance(ip, IPv6Address) else str(ip)


def _embedded(ip: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address of a client that reaches us by IPv6, if it is one."""
    if ip.ipv4_mapped:
        return ip.ipv4_mapped
    if ip in _NAT64:
        return _last_bits(int(ip))
    return _locally_translated(int(ip)) if ip in _LOCAL_NAT64 else None


def _locally_translated(ip: int) -> IPv4Address:
    """Return the IPv4 address in RFC 6052's forms for prefixes of 48, 56, 64 and 96 bits.

    The prefix is the operator's choice and not in the address; the shorter ones leave zeros at the
    end, where an IPv4 address of a host has none. They keep bits 64 to 71 free.
    """
    if not ip & 0xFF_FFFF_FFFF:
        return _last_bits(ip >> 64 << 16 | ip >> 40 & 0xFFFF)
    if not ip & 0xFFFF_FFFF:
        return _last_bits(ip >> 64 << 24 | ip >> 32 & 0xFF_FFFF)
    if not ip & 0xFF_FFFF:
        return _last_bits(ip >> 24)
    return _last_bits(ip)


def _last_bits(number: int) -> IPv4Address:
    return IPv4Address(number & 0xFFFF_FFFF)
