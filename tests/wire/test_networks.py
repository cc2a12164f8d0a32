"""The address of a client, and the network that is counted as one client."""

from __future__ import annotations

import pytest

from atelier.wire.networks import client_network, plain_address

TABLE = [
    ("192.0.2.7", "192.0.2.7", "192.0.2.7"),
    ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.7"),
    ("::FFFF:c000:207", "192.0.2.7", "192.0.2.7"),
    ("::ffff:192.0.2.7%eth0", "192.0.2.7", "192.0.2.7"),
    ("64:ff9b::192.0.2.7", "192.0.2.7", "192.0.2.7"),
    ("64:ff9b::c000:207", "192.0.2.7", "192.0.2.7"),
    ("64:ff9b:1::192.0.2.7", "192.0.2.7", "192.0.2.7"),
    ("64:ff9b:1:fffe::192.0.2.7", "192.0.2.7", "192.0.2.7"),
    ("64:ff9b:1:c000:2:700::", "192.0.2.7", "192.0.2.7"),
    ("64:ff9b:1:aac0:0:207::", "192.0.2.7", "192.0.2.7"),
    ("64:ff9b:1:aaaa:c0:2:700:0", "192.0.2.7", "192.0.2.7"),
    ("64:ff9b:2::1", "64:ff9b:2::1", "64:ff9b:2::/64"),
    ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
    ("2001:0DB8:1:2:ffff::", "2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
    ("fe80::1%eth0", "fe80::1", "fe80::/64"),
    ("::1", "::1", "::/64"),
    ("testclient", "testclient", "testclient"),
    ("unix:", "unix:", "unix:"),
    ("1:2", "1:2", "1:2"),
    ("", "", ""),
]


@pytest.mark.parametrize(("address", "plain", "network"), TABLE)
def test_one_client_has_one_name(address: str, plain: str, network: str) -> None:
    """IPv4 by address, however it came to us; IPv6 by what one subscriber has."""
    assert (plain_address(address), client_network(address)) == (plain, network)


@pytest.mark.parametrize(
    "address", ["64:ff9b::192.0.2.0", "64:ff9b::10.0.0.0", "64:ff9b:1::192.0.2.1"]
)
def test_clients_of_one_translator_are_told_apart(address: str) -> None:
    """Not all who come through NAT64 are one network."""
    assert client_network(address) != client_network("64:ff9b::198.51.100.1")
