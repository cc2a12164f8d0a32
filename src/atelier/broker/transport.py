"""Kombu's Redis transport, but for one thing: a job that cannot be acknowledged does not keep its place for ever."""

from __future__ import annotations

from typing import Any

from kombu.transport import redis, virtual


class QoS(redis.QoS):
    """Counts the jobs that a worker has in hand; at `prefetch_count` of them it asks for no more.

    Kombu counts a job on when Redis did not take its acknowledgement. Such a job is Redis's to
    give to somebody after the visibility timeout; counted here, it and a few like it would keep
    the worker from ever asking again, and from noticing that its connection is gone.
    """

    def ack(self, delivery_tag: str) -> None:
        """The job is done; whatever Redis says, it is not in hand any more."""
        try:
            super().ack(delivery_tag)
        except BaseException:
            virtual.QoS.ack(self, delivery_tag)
            raise

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """The job is given back or thrown away; the same."""
        try:
            super().reject(delivery_tag, requeue)
        except BaseException:
            virtual.QoS.ack(self, delivery_tag)
            raise


class Channel(redis.Channel):
    """A channel that counts so."""

    QoS: Any = QoS


class Transport(redis.Transport):
    """The transport of such channels."""

    Channel = Channel
