"""
Texts of the manual pages that are not generated from declarations.

Paragraphs are separated by empty lines, words in backquotes are literal, and paragraphs
indented by four spaces are examples.
"""

from __future__ import annotations

import signal

from socketd.common import errors

DAEMON = """
`socketd` serves small protocols over TCP, UDP, UNIX sockets and TLS, as one INI file says
(socketd.ini(5)). At start it reads the whole file and binds every listener before it accepts
anything. If something is wrong, it reports all errors, one line each, and exits with nothing
bound.

It is a plugin of Twisted's `twistd`: `socketd run` is the same as `twistd --nodaemon --pidfile=
socketd` with the options below.
"""

#: The relevant options of twistd itself, which precede the word C{socketd}.
TWISTD = {
    "--nodaemon": "Stay in the foreground. `--console` and systemd services need it.",
    "--pidfile": "The file for the process id; an empty value writes none.",
    "--logfile": "Write the log to a file; `-` is standard output.",
    "--syslog": "Write the log to syslog(3).",
    "--uid": "The user to run as once everything is bound.",
    "--gid": "The group to run as.",
    "--umask": "The permissions that are removed from new files.",
    "--reactor": "The event loop of Twisted: epoll, poll, select, asyncio.",
}

SIGNALS = {
    signal.SIGHUP: "Reload the configuration. An invalid file changes nothing, and the log says"
    " why. Otherwise only the difference is applied: listeners that are in both files keep their"
    " sockets and connections. If the controlling terminal was closed within the last ten seconds,"
    " stop instead, as for SIGTERM, unless nohup(1) started the daemon.",
    signal.SIGTERM: "Stop: close the listeners, answer what was received, wait up to"
    " `drain_timeout` for connections to end, reset the rest, and exit with status 0. A second"
    " signal stops the waiting.",
    signal.SIGINT: "The same.",
    signal.SIGUSR1: "Rotate the file of `--logfile`, unless another program has already moved"
    " it; then only start a new one.",
    signal.SIGABRT: "Exit with the stacks of all threads on standard error; sent by the watchdog"
    " of systemd.",
}

DAEMON_STATUSES = {
    0: "Graceful stop.",
    1: "A listener could not be bound, the control socket or the log could not be created, or"
    " `--console` had no terminal.",
    errors.BAD_CONFIGURATION: "The configuration is invalid, or promises more connections than the"
    " descriptor limit allows. A restart would not help.",
}

ENVIRONMENT = {
    "SOCKETD_CONFIG": "The configuration file, unless the command line names one.",
    "RUNTIME_DIRECTORY": "Set by systemd: the directory that `{runtime}` in a UNIX path"
    " is replaced with.",
    "XDG_RUNTIME_DIR": "Otherwise its subdirectory socketd is used; and if this is not set either,"
    " /tmp/socketd-UID.",
    "STATE_DIRECTORY": "Set by systemd: the directory that `{state}` in the path of NTS keys is"
    " replaced with.",
    "XDG_STATE_HOME": "Otherwise its subdirectory socketd is used, and ~/.local/state/socketd if"
    " this is not set either.",
    "NOTIFY_SOCKET": "The socket to report start, reloads and stop to (sd_notify(3)).",
    "WATCHDOG_USEC": "The watchdog timeout; a notification is sent in half that time.",
    "WATCHDOG_PID": "The process that the watchdog is for.",
    "LISTEN_FDS": "The number of passed sockets, for `systemd:` listeners (sd_listen_fds(3)).",
    "LISTEN_FDNAMES": "The names of these.",
    "LISTEN_PID": "The process that they are for.",
    "LISTEN_PIDFDID": "The same, in newer versions of systemd.",
    "JOURNAL_STREAM": "If it names standard output, lines begin with their priority for the"
    " journal.",
}

FILES = {
    "/etc/socketd/socketd.ini": "The configuration. If it is missing, the file below the prefix"
    " of the installation is used.",
    "{state}/nts.keys": "The keys of NTS cookies, if `nts-ke` is served.",
    "{runtime}/control.sock": "The control socket, if `control` in `[socketd]` says so.",
}

CONTROL = """
`control = PATH` in `[socketd]` opens a UNIX socket for operators, accessible to the owner and
the group of the daemon. A request is one line: a command with its arguments. The answer is one
or more non-empty lines, and then an empty line; it begins with `error:` if the command failed.
With `json` before the command, the answer is one line, a JSON object with `ok`. So it is if the
request is a JSON object, with `command` and each argument by its name in lower case; `data` in
place of `text` is Base64, so that it can be any bytes:

    {"command": "reply", "id": 7, "data": "AP8="}

Commands that change something are logged with the name of the operator.

With `--console` the terminal takes the same commands. While it asks for a word, the next line
is the word for that connection, and for no other one if the connection ends meanwhile; a line
that begins with `/` is always a command.
"""

HTTP = """
`http = LISTENER` in `[socketd]` serves `GET /metrics` in the text format of Prometheus, and
`GET /healthz`, which answers 200, or 503 as soon as the daemon drains or stops.
"""

SYSTEMD = """
The daemon is a service of `Type=notify`: it reports when it is ready, reloads and stops, and
notifies the watchdog. Sockets that systemd passes are served by `systemd:NAME` listeners,
with the NAME of `FileDescriptorName=`. `RestartPreventExitStatus=78` keeps systemd from
restarting it with an invalid configuration. `socketd unit` prints a unit for a configuration.
"""

GRAMMAR = """
The file is UTF-8 text of at most 1 MiB. `[name]` begins a section, `option = value` sets an
option; an indented line continues the value above it. `;` after a space begins a comment, as
do `;` and `#` at the beginning of a line, but not a `;` in the quotes of `rules` and
`greeting`. Names are case-sensitive. Nothing is expanded
except `{runtime}` in the paths of UNIX sockets.

`[socketd]` configures the daemon. `[defaults]` sets options for every service that has them
and does not set them itself. `[fault:NAME]` is a fault profile. Each other section is a
service: its name, up to 32 letters, digits and `. _ -`, appears in the log, and is its
protocol unless `protocol` says otherwise.

Unknown options, invalid values, and options or sections that appear twice are all reported
together, with file and line, and nothing is started (exit status 78).

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
    "duration": "A number with its unit: `250ms`, `10s`, `5m`, `1h`, `1d`. `0s` disables"
    " a deadline of the access policy.",
    "rate": "A number per second, minute or hour: `50/s`, `256/m`, `10/h`.",
    "size": "Bytes: `4096`, `64KiB`, `1MiB`.",
    "share": "A percentage from `0%` to `100%`: `30%`, `0.1%`.",
    "text": "Sent as UTF-8; `\\n`, `\\r`, `\\t`, `\\xNN` and `\\\\` are one byte each.",
    "list": "One item per line, or separated by commas.",
    "networks": "A list of `192.0.2.0/24`, `2001:db8::/32`, single addresses, `any`, `loopback`"
    " and `private` (RFC 1918, link-local, unique local addresses, and 100.64.0.0/10, which"
    " carrier-grade NAT and Tailscale use).",
}

LISTENERS = {
    "tcp:PORT[:interface=ADDRESS][:backlog=N][:optional=yes]": "Streams over IPv4, on all"
    " interfaces unless one is given. Port 0 lets the system choose one. With `optional=yes` a"
    " machine that lacks the address starts without the listener, and tries again at each reload.",
    "tcp6:PORT[...]": "Over IPv6 only. Colons in an address are escaped with a backslash:"
    " `tcp6:7:interface=\\:\\:1`.",
    "tls:PORT[...]": "Streams over TLS; the service needs `tls_certificate`.",
    "tls6:PORT[...]": "The same over IPv6.",
    "udp:PORT[:interface=ADDRESS][:optional=yes]": "Datagrams over IPv4.",
    "udp6:PORT[...]": "Over IPv6 only.",
    "unix:PATH[:mode=660][:backlog=N][:optional=yes]": "Streams at a path.",
    "unixgram:PATH[:mode=660][:optional=yes]": "Datagrams at a path.",
    "systemd:NAME[:tls=yes]": "The sockets of that name that systemd passes, of any kind.",
    "haproxy:LISTENER": "In front of a stream listener: each connection begins with a PROXY"
    " header, version 1 or 2, and the access policy applies to the source in the header. Only"
    " headers from `proxy_from` are accepted.",
}

FAULTS = """
A service with `fault = NAME` misbehaves as the section `[fault:NAME]` says: connections by the
options for streams, datagrams by those for datagrams, and both by `latency`. An option for the
other kind is an error, unless `fault` is set in `[defaults]`.

What happens to a connection depends on the seed, the service and the number of the connection
since the service has the profile; what happens to the answers to a datagram on the seed, the
service, the address of its source and the number of the datagram from there. So a run
repeats with the same seed, however connections interleave.
"""

RULES = """
`rules` has one rule in a line, `PATTERN -> ANSWER, ACTION, ...`, and the first that matches a
message answers it. A PATTERN is `"TEXT"`, `prefix "TEXT"`, `contains "TEXT"`, `/REGEX/` (of RE2),
`hex 01 03 ..` (two dots are any octet), `every 3rd`, `idle 10s` or `*`. An ANSWER is `"TEXT"`, in
which `\\1` is a group of the expression, or `hex 0d 0a`. An ACTION is `close`, `reset`, `silent`,
`after DURATION` or `times N`. docs/RULES.md says more, and `socketd try` tries them:

    [modem]
    protocol = reply
    listen = tcp:7023
    framing = line
    greeting = "220 ready\\r\\n"
    rules =
        "AT"            -> "OK\\r\\n"
        /AT\\+CSQ(.*)/  -> "+CSQ: 24,\\1\\r\\n", after 200ms
        "QUIT"          -> "bye\\r\\n", close
        *               -> "ERROR\\r\\n"
"""

ACCESS = """
The access policy decides which peers are served, how often and for how long. A connection
above a limit of its source is reset; while the service or the daemon is full, connections
wait in the queue of the kernel. An IPv6 /64 is one source. Loopback has no limits unless
they are given.

Datagrams can be forged, so they are checked for more: no reserved source port, only the
networks of `allow` (by default `loopback`, `private` and the addresses of this machine), no
reply longer than the request unless `udp_amplify` allows it, and a rate for each source and
each network.
"""

CLIENT = """
`socketd` is a client for sockets, and controls the daemon of the same name (socketd(8)).
`socketd serve` is that daemon without a file: its listeners are on loopback unless an interface
is given, the log goes to standard error, and it ends with the exit statuses of socketd(8).
Output goes to standard output; an error is one line on standard error. Each subcommand takes
`--help`.
"""

ADDRESSES = """
ADDRESS is `HOST:PORT`, `[V6]:PORT`, the path of a UNIX socket, `udp:HOST:PORT`, `tls:HOST:PORT`,
`unixgram:PATH`, or a client endpoint string of Twisted.
"""

CLIENT_STATUSES = {
    errors.GOOD: "Success.",
    errors.FAILED: "Failure; standard error says why.",
    errors.USAGE: "Invalid command line.",
    errors.BAD_CONFIGURATION: "Invalid configuration.",
    errors.INTERRUPTED: "Ended by Ctrl-C.",
    errors.TERMINATED: "Ended by SIGTERM.",
    errors.OUTPUT_CLOSED: "The reader of its output has closed the pipe.",
}

CLIENT_ENVIRONMENT = {
    "SOCKETD_CONFIG": "The file that `check` reads, if none is given.",
    "SOCKETD_CONTROL": "The control socket of the daemon, unless `--control` names one.",
    "XDG_RUNTIME_DIR": "Otherwise the control socket is searched in its subdirectory socketd,"
    " and then in /run/socketd.",
}

CLIENT_EXAMPLES = """
    socketd run --config socketd.ini
    socketd serve reply tcp:7007 reply='hello\\n' close=yes
    socketd serve echo tcp:0 udp:0 fault.latency=50ms --json
    socketd check socketd.ini
    socketd send 127.0.0.1:12345 hello
    socketd time udp:127.0.0.1:12345
    printf 'one\\ntwo\\n' | socketd send tls:example.org:7443
    socketd record plc.example:502 --listen 127.0.0.1:5020 plc.ini
"""
