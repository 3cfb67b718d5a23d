"""
Texts of the manual pages that are not generated from declarations.

Paragraphs are separated by empty lines, words in backquotes are literal, and paragraphs
indented by four spaces are examples.
"""

from __future__ import annotations

import signal

from socketd.common import errors

DAEMON = """
`socketd` answers sockets: it serves small protocols over TCP, UDP,
UNIX sockets and TLS, as one INI file says (socketd.ini(5)). It reads the whole file and binds
every listener before it serves anybody; what is wrong is said at once, one line each, and
nothing stays bound.

It is a plugin of Twisted's `twistd`: `socketd run` is the same as `twistd --nodaemon --pidfile=
socketd` with the options that follow.
"""

#: The relevant options of twistd itself, which precede the word C{socketd}.
TWISTD = {
    "--nodaemon": "Stay in the foreground. `--console` and a service of systemd need it.",
    "--pidfile": "Where the process id is written; nothing behind the equals sign is nowhere.",
    "--logfile": "Write the log to a file; `-` is standard output.",
    "--syslog": "Write the log to syslog(3).",
    "--uid": "Who the daemon is once everything is bound.",
    "--gid": "Its group.",
    "--umask": "The permissions that its files do not get.",
    "--reactor": "The event loop of Twisted: epoll, poll, select, asyncio.",
}

SIGNALS = {
    signal.SIGHUP: "Read the configuration anew. A file that cannot be used changes nothing, and"
    " the log says why. Otherwise the difference is applied: listeners that are in both files keep"
    " their sockets and their connections. Where the terminal was closed less than ten"
    " seconds ago, it stops instead, as for SIGTERM; unless nohup(1) started it.",
    signal.SIGTERM: "Stop: close the listeners, answer what has come, wait for connections up to"
    " `drain_timeout`, reset the others, and end in status 0. A second signal does not wait.",
    signal.SIGINT: "The same.",
    signal.SIGUSR1: "Begin a new log file, where `--logfile` names one, and no other program has"
    " moved the old one.",
    signal.SIGABRT: "End, with the stacks of all threads on standard error; the watchdog"
    " of systemd sends it.",
}

DAEMON_STATUSES = {
    0: "The daemon was stopped in good order.",
    1: "A listener could not be bound, the control socket or the log could not be made, or there"
    " was no terminal for `--console`.",
    errors.BAD_CONFIGURATION: "The configuration cannot be used, or promises more connections than"
    " the limit of descriptors holds. To start again would not help.",
}

ENVIRONMENT = {
    "SOCKETD_CONFIG": "The configuration file, where the command line names none.",
    "RUNTIME_DIRECTORY": "Set by systemd: the directory that `{runtime}` in a UNIX path"
    " stands for.",
    "XDG_RUNTIME_DIR": "Otherwise its subdirectory socketd; and where this is not set either,"
    " /tmp/socketd-UID.",
    "NOTIFY_SOCKET": "Where the start, reloads and the stop are reported to (sd_notify(3)).",
    "WATCHDOG_USEC": "How long systemd waits for a sign of life; one is given in half that time.",
    "WATCHDOG_PID": "Whom that is for.",
    "LISTEN_FDS": "How many sockets are handed over, for `systemd:` listeners (sd_listen_fds(3)).",
    "LISTEN_FDNAMES": "The names of these.",
    "LISTEN_PID": "Whom they are for.",
    "LISTEN_PIDFDID": "The same, in newer versions of systemd.",
    "JOURNAL_STREAM": "Tells that standard output is the journal; lines then begin with their"
    " priority.",
}

FILES = {
    "/etc/socketd/socketd.ini": "The configuration. Where it is missing, the one below the prefix"
    " of the installation is used.",
    "{runtime}/control.sock": "The control socket, where `control` in `[socketd]` says so.",
}

CONTROL = """
With `control = PATH` in `[socketd]` there is a UNIX socket for operators, for the owner and the
group of the daemon. A command is one line; its answer is one or more lines that are not empty,
and then an empty line. An answer that begins with `error:` says why the command was not carried
out. With `json` in front of the command, its answer is one line, a JSON object with `ok`. What
changes something is logged with the name of the operator.

With `--console` the terminal takes the same commands. While it asks for a word, the line that
is begun then is the word for that connection, and for no other one if it goes meanwhile; a line
that begins with `/` is a command.
"""

HTTP = """
With `http = LISTENER` in `[socketd]`, `GET /metrics` answers in the text format of Prometheus,
and `GET /healthz` with 200, or with 503 from the moment on that the daemon drains or stops.
"""

SYSTEMD = """
The daemon is a service of `Type=notify`: it reports when it is ready, reloads and stops, and
keeps the watchdog satisfied. Sockets that systemd hands over are served by `systemd:NAME`
listeners, where NAME is that of `FileDescriptorName=`. `RestartPreventExitStatus=78` keeps a
configuration that cannot be used from being tried again and again. `socketd unit` prints a unit
for a configuration.
"""

GRAMMAR = """
The file is UTF-8 text of at most 1 MiB. `[name]` begins a section, `option = value` sets an
option; a line that is indented goes on with the value above it. `;` behind a space begins a
comment, and so do `;` and `#` at the beginning of a line. Names are compared as they are
written. Nothing is expanded, but `{runtime}` in the paths of UNIX sockets.

`[socketd]` is the daemon. `[defaults]` gives every service that knows an option its value,
unless the service has its own. Each other section is a service: its name, up to 32 letters,
digits and `. _ -`, stands in the log, and is its protocol unless `protocol` says otherwise.

An option that is not known, a value that cannot be used, an option or a section that stands
twice: all of it is reported at once, with file and line, and nothing is started (exit status
78).

    [socketd]
    drain_timeout = 10s

    [defaults]
    idle_timeout = 2m

    [echo]
    listen = tcp:7007, udp:7007

    [greeter]
    protocol = reply
    listen =
        tcp:7008:interface=127.0.0.1
        unix:{runtime}/greeter.sock:mode=660
    reply = hello\\n
    framing = line
"""

VALUES = {
    "yes | no": "Also on, off, true, false, 1 and 0.",
    "duration": "A number with its unit: `250ms`, `10s`, `5m`, `1h`, `1d`. `0s` switches"
    " a deadline"
    " of the access policy off.",
    "rate": "So many in a second, a minute or an hour: `50/s`, `256/m`, `10/h`.",
    "size": "Bytes: `4096`, `64KiB`, `1MiB`.",
    "text": "Sent as UTF-8; `\\n`, `\\r`, `\\t`, `\\xNN` and `\\\\` are one byte each.",
    "list": "One item per line, or with commas between them.",
    "networks": "A list of `192.0.2.0/24`, `2001:db8::/32`, single addresses, `any`, `loopback`"
    " and `private` (RFC 1918, link-local, unique local addresses, and 100.64.0.0/10, which"
    " carrier-grade NAT and Tailscale use).",
}

LISTENERS = {
    "tcp:PORT[:interface=ADDRESS][:backlog=N][:optional=yes]": "Streams over IPv4. Port 0 has the"
    " system choose one. Without an interface it is all of them. With `optional=yes` a"
    " machine that lacks the address starts without it, and tries again at each reload.",
    "tcp6:PORT[...]": "Over IPv6 only. The colons of an address have a backslash in front:"
    " `tcp6:7:interface=\\:\\:1`.",
    "tls:PORT[...]": "Streams over TLS; the service needs `tls_certificate`.",
    "tls6:PORT[...]": "The same over IPv6.",
    "udp:PORT[:interface=ADDRESS][:optional=yes]": "Datagrams over IPv4.",
    "udp6:PORT[...]": "Over IPv6 only.",
    "unix:PATH[:mode=660][:backlog=N][:optional=yes]": "Streams at a path.",
    "unixgram:PATH[:mode=660][:optional=yes]": "Datagrams at a path.",
    "systemd:NAME[:tls=yes]": "The sockets of that name which systemd hands over, of any kind.",
    "haproxy:LISTENER": "In front of a listener for streams: each connection begins with a PROXY"
    " header, version 1 or 2, and the source that it names is the one that counts. Only"
    " balancers in"
    " `proxy_from` are believed.",
}

ACCESS = """
The access policy decides which peers are served, how often and for how long. A connection
above a limit of its source is reset; where the service or the daemon is full, connections
wait in the queue of the kernel. An IPv6 /64 is one source. Loopback has no limits unless
they are given.

A datagram can be forged, so it passes more: no reserved source port, only the networks of
`allow` (by default `loopback`, `private` and the addresses of this machine), no answer longer
than the question unless `udp_amplify` says so, and a rate for each source and for each network.
"""

CLIENT = """
`socketd` talks to sockets, and looks after the daemon of the same name (socketd(8)). What it
prints goes to standard output; what goes wrong is one line on standard error. Each subcommand
takes `--help`.
"""

ADDRESSES = """
ADDRESS is `HOST:PORT`, `[V6]:PORT`, the path of a UNIX socket, `udp:HOST:PORT`, `tls:HOST:PORT`,
`unixgram:PATH`, or a client endpoint string of Twisted.
"""

CLIENT_STATUSES = {
    errors.GOOD: "Done.",
    errors.FAILED: "It failed; standard error says why.",
    errors.USAGE: "The command line cannot be understood.",
    errors.BAD_CONFIGURATION: "The configuration cannot be used.",
    errors.INTERRUPTED: "Ended by Ctrl-C.",
    errors.TERMINATED: "Ended by SIGTERM.",
    errors.OUTPUT_CLOSED: "Nobody read what it printed.",
}

CLIENT_ENVIRONMENT = {
    "SOCKETD_CONFIG": "The file that `check` reads, where none is named.",
    "SOCKETD_CONTROL": "The control socket of the daemon, where `--control` names none.",
    "XDG_RUNTIME_DIR": "In its subdirectory socketd the control socket is looked for"
    " otherwise, and"
    " then in /run/socketd.",
}

CLIENT_EXAMPLES = """
    socketd run --config socketd.ini
    socketd check socketd.ini
    socketd send 127.0.0.1:12345 hello
    socketd time udp:127.0.0.1:12345
    printf 'one\\ntwo\\n' | socketd send tls:example.org:7443
"""
