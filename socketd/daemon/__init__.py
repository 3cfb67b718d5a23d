"""
The daemon: services, reload, signals, log, and what it tells systemd.
"""
