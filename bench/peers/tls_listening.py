"""What the Python peers with TLS share: their options."""

from __future__ import annotations

import argparse
from pathlib import Path


def read_options(description: str) -> tuple[int, Path]:
    """
    The port, and the folder of F{server.pem} and F{server.key}, on the command line.

    @param description: what C{--help} says about the peer.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--certificates", type=Path, required=True)
    options = parser.parse_args()
    return options.port, options.certificates
