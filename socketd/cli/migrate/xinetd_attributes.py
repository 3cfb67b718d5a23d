"""The attributes of xinetd.conf(5) without a counterpart, with reasons."""

from __future__ import annotations

from socketd.settings.diagnostics import likeliest

PROGRAM = "is for a program that is started; the daemon answers by itself"
#: Attributes without a counterpart, with reasons.
WITHOUT = {
    "wait": "the daemon serves all peers at once",
    "user": "the daemon has one user for all services",
    "group": "the daemon has one group for all services",
    "groups": PROGRAM,
    "umask": PROGRAM,
    "nice": "the daemon has one priority for all services",
    "server": PROGRAM,
    "server_args": PROGRAM,
    "env": PROGRAM,
    "passenv": PROGRAM,
    "rlimit_as": PROGRAM,
    "rlimit_files": PROGRAM,
    "rlimit_cpu": PROGRAM,
    "rlimit_data": PROGRAM,
    "rlimit_rss": PROGRAM,
    "rlimit_stack": PROGRAM,
    "log_type": "the daemon logs to standard error, for the journal",
    "log_on_success": "see log_connections",
    "log_on_failure": "the daemon logs what it refuses",
    "access_times": "the daemon serves at all times",
    "redirect": "the daemon forwards nothing",
    "banner": "the daemon has no banners",
    "banner_success": "the daemon has no banners",
    "banner_fail": "the daemon has no banners",
    "max_load": "the daemon serves whatever the load is",
    "deny_time": "the daemon has no sensors",
    "mdns": "the daemon announces nothing",
    "libwrap": "the daemon does not ask hosts.allow and hosts.deny",
    "rpc_version": "the daemon has no RPC",
    "rpc_number": "the daemon has no RPC",
}

#: Attributes without a counterpart that restrict access.
LOUD = ("access_times", "libwrap", "max_load")


#: Attributes that are valid in C{defaults}.
KNOWN_IN_DEFAULTS = frozenset(
    (
        "banner", "banner_fail", "banner_success", "bind", "cps", "disabled", "enabled",
        "groups", "instances", "interface", "log_on_failure", "log_on_success", "log_type",
        "max_load", "mdns", "no_access", "only_from", "passenv", "per_source", "umask", "v6only",
    )
)  # fmt: skip

#: Attributes that are valid in a service.
KNOWN = (
    KNOWN_IN_DEFAULTS - {"enabled", "disabled"}
    | WITHOUT.keys()
    | {"disable", "flags", "id", "port", "protocol", "socket_type", "type"}
)


def why(name: str) -> str:
    """Give the reason why an attribute has no counterpart."""
    if name in WITHOUT:
        return WITHOUT[name]
    near = likeliest(name, sorted(KNOWN))
    hint = f"; did you mean {near}?" if near else ""
    return f"is no attribute of xinetd.conf(5), which xinetd passes over{hint}"
