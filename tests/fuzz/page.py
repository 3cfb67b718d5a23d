"""What the status page promises whatever a client sends."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import connectionDone

from socketd.common.lag import LagMeter
from socketd.web.live import MAX_VIEWERS, Live
from socketd.web.page import StatusPage
from socketd.web.server import REQUEST_TIMEOUT, ChannelFactory
from tests.control.fakes import connect, make_daemon, watch
from tests.web.fakes import BrowserTransport

#: What one response may be for each byte of a request: the largest file of the page for few.
MAX_RESPONSE = 64 * 1024


def check_page(data: bytes) -> None:
    """
    Whatever is sent without the token in whatever pieces, it is answered or refused; nothing is
    changed, no operator attends, and the token is not told. The first byte says how long the
    pieces are.
    """
    if not data:
        return
    daemon, size = make_daemon(), 1 + data[0]
    clock: Any = daemon.reactor
    connect(daemon, "shout").receive(b"<b>")
    seen = watch(daemon)
    live = Live(daemon, LagMeter(clock))
    page = StatusPage(daemon, live, is_local=True)
    daemon.page = f"http://127.0.0.1/#token={page.token}"
    live.startService()
    browser = BrowserTransport()
    channel = ChannelFactory(page.routes, clock).buildProtocol(None)
    channel.makeConnection(browser)
    for start in range(1, len(data), size):
        if not browser.disconnecting:
            channel.dataReceived(data[start : start + size])
        assert len(live.viewers) <= MAX_VIEWERS
        assert not daemon.operator.attended
    clock.pump([1.0] * int(REQUEST_TIMEOUT + 1))
    sent = browser.value()
    assert page.token.encode() not in sent
    assert len(sent) <= MAX_RESPONSE * (1 + data.count(b"\n"))
    assert not [name for name, _ in seen if name == "operator_command"]
    channel.connectionLost(connectionDone)
    assert not live.viewers
    live.stopService()
