"""
OpenSSL's functions for data, called without what pyOpenSSL does around each.

It allocates a buffer for each read and asks OpenSSL for the error of each success, and so takes
4 us more for a message that is received and answered, as much as OpenSSL itself.  This needs
cryptography's binding and four names that pyOpenSSL does not document; without one of them
L{fastest} is pyOpenSSL's own class.
"""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.bindings.openssl.binding import Binding
from OpenSSL import SSL

_lib: Any = Binding.lib
_ffi: Any = Binding.ffi
_SSL_read, _SSL_write = _lib.SSL_read, _lib.SSL_write
_BIO_read, _BIO_write = _lib.BIO_read, _lib.BIO_write

#: The most that one read gives (bytes); more than a record.
MAX_READ = 64 * 1024

# Of all connections, since all belong to the reactor's thread.
_buffer = _ffi.new("char[]", MAX_READ)
_bytes = _ffi.buffer(_buffer)

#: Attributes of pyOpenSSL's connections that are used here.
_USED = ("_ssl", "_into_ssl", "_from_ssl", "_raise_ssl_error")


class DirectConnection(SSL.Connection):
    """
    A connection in memory, with the methods of pyOpenSSL's, for one thread.

    Only success is different: for all else there is pyOpenSSL's own code.
    """

    def recv(self, bufsiz: int, flags: int | None = None) -> bytes:
        """Decrypt at most so many bytes, or L{MAX_READ}, of one record."""
        if flags:
            return super().recv(bufsiz, flags)
        count = _SSL_read(self._ssl, _buffer, min(bufsiz, MAX_READ))
        if count <= 0:
            self._raise_ssl_error(self._ssl, count)
        data: bytes = _bytes[:count]
        return data

    def send(self, buf: Any, flags: int = 0) -> int:
        """Encrypt a buffer, of a record at most; return how many bytes were."""
        data = buf if isinstance(buf, bytes) else _ffi.from_buffer(buf)
        count: int = _SSL_write(self._ssl, data, len(buf))
        if count <= 0:
            self._raise_ssl_error(self._ssl, count)
        return count

    def bio_read(self, bufsiz: int) -> bytes:
        """Take at most so many bytes, or L{MAX_READ}, of what is to be sent to the peer."""
        count = _BIO_read(self._from_ssl, _buffer, min(bufsiz, MAX_READ))
        if count <= 0:
            # All that can be wrong with memory that is read.
            raise SSL.WantReadError
        data: bytes = _bytes[:count]
        return data

    def bio_write(self, buf: Any) -> int:
        """Take what was received from the peer."""
        count: int = _BIO_write(self._into_ssl, buf, len(buf))
        return count if count > 0 else super().bio_write(buf)


def fastest() -> type[SSL.Connection]:
    """Choose the class of connections: pyOpenSSL may have changed."""
    tried = SSL.Connection(SSL.Context(SSL.TLS_METHOD))
    return DirectConnection if all(hasattr(tried, name) for name in _USED) else SSL.Connection
