"""Adds C{socketd} to the services that C{twistd} can run."""

from twisted.application.service import ServiceMaker

socketd = ServiceMaker("socketd", "socketd.tap", "Answers sockets, from one INI file.", "socketd")
