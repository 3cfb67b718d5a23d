"""The daemon: services, reload, signals, log and sd_notify."""
