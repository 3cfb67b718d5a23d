"""An example value for each option, in INI syntax."""

from __future__ import annotations

from typing import Any

from socketd.settings.options import Option
from tools.manual.options_page import default_text

#: Examples of single options, by class and option name or by option name alone, if the
#: value type alone gives no good one.
_OWN = {
    "DaemonOptions.control": "{runtime}/control.sock",
    "DaemonOptions.http": "tcp:9155:interface=127.0.0.1",
    "DaemonOptions.http_names": "srv.example.org",
    "DaemonOptions.status_page": "no",
    "DaemonOptions.log_quiet": "192.0.2.10",
    "DaemonOptions.max_connections": "5000",
    "DaemonOptions.workers": "auto",
    "ServiceOptions.protocol": "echo",
    "ServiceOptions.listen": "tcp:7007, udp:7007",
    "ServiceOptions.fault": "flaky",
    "AccessOptions.allow": "192.0.2.0/24, loopback",
    "AccessOptions.deny": "192.0.2.13",
    "AccessOptions.proxy_from": "192.0.2.10",
    "AccessOptions.source_prefix": "32:56",
    "AccessOptions.lifetime": "12h",
    "SocketOptions.so_bindtodevice": "eth0",
    "SocketOptions.so_linger": "0s",
    "SocketOptions.tcp_keepcnt": "5",
    "TlsOptions.tls_certificate": "/etc/socketd/server.pem",
    "TlsOptions.tls_key": "/etc/socketd/server.key",
    "TlsOptions.tls_client_ca": "/etc/socketd/clients.pem",
    "TlsOptions.tls_alpn": "http/1.1",
    "TlsOptions.tls_client_names": "probe.example.org",
    "TlsOptions.tls_names": "www.example.org = www.pem www.key",
    "AckOptions.reply": "thanks\\n",
    "HttpOptions.response": "/etc/socketd/answer.html",
    "HttpOptions.max_body": "1MiB",
    "health": "/healthz",
    "subprotocols": "chat.v2, chat.v1",
    "origins": "https://example.org",
    "HttpOptions.max_message": "1MiB",
    "WebSocketOptions.max_message": "1MiB",
    "NtpOptions.stratum": "2",
    "IpslaOptions.keys": "/etc/socketd/ipsla.keys",
    "NtpOptions.assumed_error": "500ms",
    "NtpOptions.refid": "192.0.2.1",
    "NtpOptions.nts": "nts-ke",
    "NtsKeOptions.ntp_server": "ntp.example.org",
    "NtsKeOptions.ntp_port": "4123",
    "NtsKeOptions.keys": "/srv/socketd/nts.keys",
    "QotdOptions.texts": "/etc/socketd/quotes",
    "ReplyOptions.reply": "hello\\n",
    "StampOptions.keys": "/etc/socketd/stamp.keys",
    "StampOptions.dscp": "0 10 46",
    "rules": '"AT" -> "OK\\r\\n"',
    "ReplyOptions.greeting": '"220 ready\\r\\n"',
    "EchoOptions.sequence": "0:4",
    "IpslaOptions.ports": "40000..40099",
    "ChargenOptions.bytes": "10MiB",
    "FaultOptions.latency": "80ms jitter 20ms normal",
    "FaultOptions.bandwidth": "16KiB/s",
    "FaultOptions.slice": "1..16 every 50ms",
    "FaultOptions.reset": "after 100B",
    "FaultOptions.close": "after 5s",
    "FaultOptions.half-close": "at once",
    "FaultOptions.loss": "10% burst 25%",
    "FaultOptions.reorder": "5% gap 3",
    "udp_amplify": "64",
}

#: Examples of value types, by the first word of their syntax.
_FORMS = {
    "duration": "90s",
    "rate": "50/s",
    "share": "2%",
    "size": "64KiB",
    "number": "100",
    "text": "hello\\n",
    "word": "name",
    "path": "/etc/socketd/file",
}


def example_of(options: type[Any], found: Option) -> str:
    """Return a valid value of an option of a class, not its default if there are others."""
    own = _OWN.get(f"{options.__name__}.{found.name}", _OWN.get(found.name))
    if own is not None:
        return own
    words = found.type.syntax.split(" | ")
    if len(words) > 1:
        return next(word for word in words if word != default_text(found))
    return _FORMS[found.type.syntax.split()[0]]
