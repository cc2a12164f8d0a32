"""Kombu's Redis transport, except that a job whose acknowledgement fails is not counted."""

from __future__ import annotations

from typing import Any

from kombu.transport import redis, virtual


class QoS(redis.QoS):
    """Counts the jobs that a worker holds; at `prefetch_count` of them it asks for no more.

    Kombu keeps counting a job when Redis did not take its acknowledgement. Redis gives such a job
    to another worker after the visibility timeout; counted here, a few of them would keep this
    worker from ever asking again, and from noticing that its connection is lost.
    """

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge the job; whatever Redis says, the worker no longer holds it."""
        try:
            super().ack(delivery_tag)
        except BaseException:
            virtual.QoS.ack(self, delivery_tag)
            raise

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Return or drop the job; the worker no longer holds it."""
        try:
            super().reject(delivery_tag, requeue)
        except BaseException:
            virtual.QoS.ack(self, delivery_tag)
            raise


class Channel(redis.Channel):
    """A channel that counts with this QoS."""

    QoS: Any = QoS


class Transport(redis.Transport):
    """A transport with these channels."""

    Channel = Channel
