"""
Which of Twisted's own tests do not apply to our reactor and transports, and why.

All others of the modules that are named in this package are run.
"""

from __future__ import annotations

from collections.abc import Iterator

EMFILE = "what waits while there is no descriptor left is served later, not closed"
INTERNALS = "looks into Twisted's own classes: their numbers, texts, private methods or modules"
LINGERS = "a close waits for the peer's own, which a client that stopped reading sends late"
LOG = "a service has events of its own; no line or context of the log is spent on each"
NO_DESCRIPTORS = "descriptors are not passed over UNIX sockets: see docs/DECISIONS.md"
UNWATCHED = "a descriptor is not asked for its number again at each event"
CLIENT = "looks for the client in what is watched; the reactor itself watches it"
REPORTED = "what a protocol or factory raises is an event of its service, not raised further"
DEFAULTS = "TCP_NODELAY and SO_KEEPALIVE are on from the start"
IPV6_ONLY = "a port at :: is for IPv6 alone"
PID_FILES = "a stale file is told from a live one by connecting to it; there is no lock beside it"
SKIPPED = "Twisted skips it itself, here or wherever a locale is not installed"

_PORTS = (
    "TCPPortTestsBuilder",
    "TCPFDPortTestsBuilder",
    "UNIXPortTestsBuilder",
    "UNIXFDPortTestsBuilder",
    "TLSPortTestsBuilder",
)
_DATAGRAMS = ("UDPServerTestsBuilder", "UDPFDServerTestsBuilder")
_TCP_CLIENTS = ("TCP4ClientTestsBuilder", "TCP6ClientTestsBuilder")
_TLS_CLIENTS = ("SSLClientTestsMixin", "StartTLSClientTestsMixin")
_TRANSPORTS = ("TCPTransportTestsBuilder", "AdoptStreamConnectionTestsBuilder")

#: Tests of builders: the classes, the methods, and the reason.
_BUILDERS: list[tuple[tuple[str, ...], tuple[str, ...], str]] = [
    (_PORTS, ("test_closePeerOnEMFILE",), EMFILE),
    (_PORTS, ("test_startedListeningLogMessage", "test_connectionLostLogMsg"), LOG),
    (
        _DATAGRAMS,
        ("test_startedListeningLogMessage", "test_connectionLostLogMessage", "test_logPrefix"),
        LOG,
    ),
    ((*_TCP_CLIENTS, *_TLS_CLIENTS, "UNIXTestsBuilder"), ("test_logPrefix",), LOG),
    (
        (*_TCP_CLIENTS, "UnixClientTestsBuilder"),
        ("test_unregisterProducerAfterDisconnect",),
        LINGERS,
    ),
    (_TRANSPORTS, ("test_serverAddressTCP4", "test_serverAddressTCP6"), INTERNALS),
    (("UNIXAdoptStreamConnectionTestsBuilder",), ("test_ServerAddressUNIX",), INTERNALS),
    (
        ("ProducerTestsMixin",),
        (
            "test_startTLSAfterRegisterProducerStreaming",
            "test_startTLSAfterRegisterProducerNonStreaming",
        ),
        INTERNALS,
    ),
    (("UNIXTestsBuilder",), ("test_listenFailure",), INTERNALS),
    (
        ("UNIXTestsBuilder",),
        (
            "test_sendFileDescriptor",
            "test_sendFileDescriptorTriggersPauseProducing",
            "test_fileDescriptorOverrun",
            "test_descriptorDeliveredBeforeBytes",
            "test_avoidLeakingFileDescriptors",
        ),
        NO_DESCRIPTORS,
    ),
    (
        ("ReactorFDSetTestsBuilder",),
        ("test_lostFileDescriptor", "test_negativeOneFileDescriptor"),
        UNWATCHED,
    ),
]

#: Tests of modules that use the process's reactor: the class, the methods, and the reason.
_CASES: list[tuple[str, tuple[str, ...], str]] = [
    ("tcp_ListeningTests", ("test_exceptInConnectionLostCall",), REPORTED),
    ("tcp_ListeningTests", ("test_serverRepr",), INTERNALS),
    ("tcp_LoopbackTests", ("test_tcpNoDelay", "test_tcpKeepAlive"), DEFAULTS),
    ("tcp_LoopbackTests", ("test_closePortInProtocolFactory",), INTERNALS),
    ("tcp_PauseProducingTests", ("test_pauseProducingInConnectionMade",), CLIENT),
    ("udp_UDPTests", ("test_serverReadFailure",), INTERNALS),
    ("udp_MulticastTestsIPv6", ("testTTL",), SKIPPED),
    ("unix_UnixSocketTests", ("test_pidFile",), PID_FILES),
    ("unix_UnixSocketTests", ("test_reprWithNewStyleFactory",), INTERNALS),
    ("unix_DatagramUnixSocketTests", ("test_reprWithNewStyleProtocol",), INTERNALS),
    (
        "ftp_FTPServerIPv4MappedPasvDataConnectionTests",
        (
            "test_LISTEmpty",
            "test_LISTNonASCIIBytes",
            "test_LISTUnicode",
            "test_LISTWithBinLsFlags",
            "test_LISTWithContent",
            "test_ManyLargeDownloads",
            "test_NLSTEmpty",
            "test_NLSTNonASCIIBytes",
            "test_NLSTNonexistent",
            "test_NLSTOnPathToFile",
            "test_NLSTUnicode",
            "test_downloadFolder",
        ),
        IPV6_ONLY,
    ),
    ("imap_NewFetchTests", ("test_fetchInternalDateLocaleIndependent",), SKIPPED),
]


def _flat() -> Iterator[tuple[str, str]]:
    for classes, methods, reason in [*_BUILDERS, *(((name,), m, r) for name, m, r in _CASES)]:
        for holder in classes:
            for method in methods:
                yield f"{holder}.{method}", reason


#: The reason for each C{CLASS.METHOD} that is left out.
LEFT_OUT: dict[str, str] = dict(_flat())
