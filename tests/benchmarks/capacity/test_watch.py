"""Readings of the machine: processes by port, their CPU, the queues by /metrics."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import psutil
import pytest

from benchmarks import usage
from benchmarks.capacity import processes
from benchmarks.capacity.watch import Watch, backlog

EXPOSITION = b"""# HELP atelier_queue_jobs Jobs outstanding.
# TYPE atelier_queue_jobs gauge
atelier_queue_jobs{queue="process"} 12.0
atelier_queue_jobs{queue="store"} 0.0
atelier_queue_oldest_job_age_seconds{queue="process"} 99.0
atelier_outbox_unsent_events 7.0
"""


def test_the_backlog_is_read_from_metrics() -> None:
    """Outstanding jobs by queue and unsent events are found among other metrics."""
    assert backlog(EXPOSITION) == {"process": 12, "store": 0, "outbox": 7}
    assert backlog(b"<html>no metrics</html>") == {}


def test_a_port_leads_to_its_process_and_back() -> None:
    """A process that listens on a port is found by it, with its own ports."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert processes.listeners(port) == {os.getpid()}
        assert port in processes.ports(os.getpid())
        assert processes.server(port)[os.getpid()] == "other"
    assert processes.listeners(port) == set()


def test_the_cpu_of_a_busy_process_is_seen() -> None:
    """A process that computes has used CPU time, and is gone when it is gone."""
    script = (
        "import time; end = time.process_time() + 0.2\nwhile time.process_time() < end: pass\n"
        "print('done', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as busy:
        assert busy.stdout
        assert busy.stdin
        assert busy.stdout.readline() == b"done\n"
        assert usage.cpu_seconds(busy.pid) >= 0.18  # in two counters, each to a tick of 10 ms
        busy.stdin.close()
    with pytest.raises(psutil.NoSuchProcess):
        usage.cpu(busy.pid)


def test_children_that_have_come_and_gone_count() -> None:
    """A decoder that lives for one file counts as the server's CPU, not as another program's."""
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        watch = Watch(listener.getsockname()[1])
        before = watch.sample()
        subprocess.run([sys.executable, "-c", burn], check=True)
        used = watch.between(before, watch.sample())
    assert sum(used.cores.values()) * used.seconds >= 0.28


def test_without_a_port_only_the_machine_is_seen() -> None:
    """For a remote server its cores are unknown, and the client's own use is still known."""
    watch = Watch(None)
    before = watch.sample()
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    used = watch.between(before, watch.sample())
    assert used.cores == {}
    assert used.allowed is None
    assert used.client > 0
