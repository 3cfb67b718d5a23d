"""Checks the parts of one service against each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from socketd.settings.diagnostics import Diagnostic, nearest
from socketd.settings.faults.profile import FaultProfile
from socketd.settings.model import ServiceSettings
from socketd.settings.options import DATAGRAM, STREAM, declared
from socketd.settings.tls import TlsOptions


def check_service(
    service: ServiceSettings, faults: Mapping[str, FaultProfile]
) -> Iterator[Diagnostic]:
    """
    List the contradictions between the options of a service.

    @param faults: the fault profiles of the file.
    """
    yield from _check_tls(service)
    yield from _check_proxies(service)
    if service.common.fault:
        yield from _check_fault(service, faults)


def misplaced(service: ServiceSettings) -> Iterator[tuple[str, ValueError]]:
    """List the protocol's options that are for streams, or datagrams, where there are none."""
    streams, datagrams = service.forms
    missing = {} if streams else {STREAM: "connections, and no listener here has any"}
    missing |= {} if datagrams else {DATAGRAM: "datagrams, and no listener here takes any"}
    for name, one in declared(type(service.options)).items():
        if one.form in missing and getattr(service.options, one.attribute) != one.default:
            yield name, ValueError(f"is for {missing[one.form]}")


def _check_tls(service: ServiceSettings) -> Iterator[Diagnostic]:
    """Report TLS listeners without a certificate, and TLS options without a TLS listener."""
    speaks = any(listener.tls for listener in service.listeners)
    if speaks and "tls_certificate" not in service.lines:
        message = "has a listener for TLS, and no certificate; write tls_certificate = PATH"
        yield Diagnostic(service.file, service.lines["listen"], message, service.name)
    given = service.lines.keys() & declared(TlsOptions).keys() - service.inherited
    if any(listener.proxied for listener in service.listeners):
        given = given - {"handshake_timeout"}
    if not speaks and service.listeners:
        for name in sorted(given):
            yield service.complaint(
                name, "is for TLS, which no listener here uses; write tls:PORT"
            )


def _check_proxies(service: ServiceSettings) -> Iterator[Diagnostic]:
    """Report C{haproxy:} listeners without C{proxy_from}."""
    proxied = [listener for listener in service.listeners if listener.proxied]
    if proxied and not service.policy.proxy_from and "proxy_from" not in service.lines:
        message = "has a haproxy: listener that trusts no proxy; write proxy_from = NETWORKS"
        yield Diagnostic(service.file, service.lines["listen"], message, service.name)


def _check_fault(
    service: ServiceSettings, faults: Mapping[str, FaultProfile]
) -> Iterator[Diagnostic]:
    """
    Report a fault profile that does not exist, or that is for the other form of transport.

    One of C{[defaults]} is for those of the services whose transports it suits.
    """
    name = service.common.fault
    profile = faults.get(name)
    if profile is None:
        known = nearest(name, faults) if faults else f"write a section [fault:{name}]"
        yield service.complaint("fault", f"is not a profile of this file; {known}", name)
    elif "fault" not in service.inherited and (why := profile.misfit(*service.forms)):
        yield service.complaint("fault", why, name)
