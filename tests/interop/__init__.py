"""
The clients that Debian packages, against the real daemon on loopback: C{make interop}.

The modules with tests are called C{with_*}: trial collects C{test_*} by itself, so that
C{make test} needs none of these clients.
"""
