"""The event that tells operators which connections wait for them."""

from __future__ import annotations

from socketd.common.answers import Answer
from socketd.common.operator_queue import TOLD_WAITING
from socketd.daemon.daemon import Daemon


def queue_event(daemon: Daemon) -> Answer:
    """Return the JSON object of the queue: the oldest connections, what they said, who attends."""
    waiting = daemon.operator.waiting
    now = daemon.operator.clock.seconds()
    oldest = [
        {
            "id": connection.connection_id,
            "service": connection.service_state.name,
            "peer": connection.peer,
            "said": question.said,
            "left": round(question.timeout.getTime() - now, 1),
        }
        for question in waiting[:TOLD_WAITING]
        if (connection := daemon.find(question.transport.connection_id))
    ]
    count = daemon.operator.count if oldest else 0
    return {
        "event": "waiting",
        "count": count,
        "oldest": oldest,
        "operators": daemon.operator.names,
    }
