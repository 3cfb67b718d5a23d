/*
 * load: the load generator of the benchmark. One thread, one epoll, no
 * dependency, and one target: 127.0.0.1; with --tls 1 it is 127.0.0.2, and
 * OpenSSL's libssl is loaded when it runs: neither its headers nor the library
 * are needed to build this.
 *
 *   load echo     --port P --connections N --size B --in-flight K
 *   load connects --port P --connections N --size B
 *   load udp      --port P --connections N --size B --in-flight K
 *   load ntp      --port P --connections N --in-flight K
 *   load nts      --port P --connections N --in-flight K --datagram HEX
 *   load stamp    --port P --connections N --in-flight K
 *   load idle     --port P --connections N --size B
 *   load ask      --port P --connections N --size B --question TEXT --answer TEXT
 *
 * and --seconds S, --warm-up S for each of them; --tls 1 for echo and connects;
 * --every S for echo and datagrams;
 * --beside 1 for a server that has what is measured at 127.0.0.2; and for echo
 * --question TEXT --answer TEXT, equally long, in place of --size.
 *
 * echo      N connections with K messages of B bytes in flight on each; with
 *           --every S one message each S seconds, in turn, whether or not the
 *           last one was answered: its latency counts from its turn.
 * connects  N at a time: connect, send B bytes, shutdown(SHUT_WR), read to EOF;
 *           with --tls 1 shake hands, send B bytes, read them, close; with
 *           --resume 1 too, as a client that was there before.
 * udp       N sockets with K datagrams of B bytes in flight on each; a
 *           datagram without answer is sent again after a while. With
 *           --sources S they come from S addresses in turn.
 * ntp       the same with requests of NTP.
 * nts       the same with --datagram HEX, whose answer is as long.
 * stamp     the same with packets of STAMP, each source a session; the latency
 *           is that of the reflector, by its own timestamps.
 * idle      opens N connections, says "held", waits for a line on its standard
 *           input (S seconds at most), then asks a sample of them.
 *
 * ask       N connections with one question in flight on each, of which every
 *           reply has B bytes and ends as the answer says; with --first TEXT
 *           that is sent before, and its reply, a head of HTTP, is read.
 *
 * The measured modes run in four steps: open; wait until every connection was
 * answered once; warm up; measure. "begin" and "end" on standard output mark
 * the measured window; after each it waits for a line on its standard input, a
 * few seconds at most, so that the program that started this can read the
 * server's counters. The last line is a JSON object. Every reply is compared with what
 * was sent, or has to end as it should. Exit status 1 and one line on standard error: the measurement
 * could not be made.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_SIZE = 65536,         /* of one message, and of one read */
    PATTERN_PERIOD = 65521,   /* a prime: no shift by a message looks right */
    PATTERN_STRIDE = 7919,    /* between the streams of two connections */
    MAX_CONNECTIONS = 100000, /* a bound against a slip of the finger */
    MAX_IN_FLIGHT = 64,       /* per connection or socket */
    MAX_EVENTS = 1024,        /* per epoll_wait: every connection of the largest work */
    MAX_ERRORS = 100,         /* more of them than this end the run */
    MAX_SAMPLES = 1 << 23,    /* latencies kept: 32 MiB, 4 s at 2 million a second */
    TICK_MS = 20,             /* how late a deadline may be noticed */
    SET_UP_SECONDS = 30,      /* to open all connections and see them answered */
    LOOK_SECONDS = 5,         /* to read the server's counters in */
    REPLY_SECONDS = 5,        /* one connection of `connects`, one question of `idle` */
    RESEND_MS = 100,          /* a datagram older than this is lost */
    SPARE_SECONDS = 15,       /* beyond all of these the kernel ends the process */
    SOURCES = 64,             /* addresses `connects` may come from: 64 times the ports */
    PER_SOURCE = 10000,       /* connections from one of them before the next: a third of
                                 its ports, so that finding a free one stays cheap; and
                                 a server that looks up names sees only "localhost" */
    SAMPLE = 100,             /* idle connections that are asked */
    PACE = 500,               /* idle connections per question while opening: well
                                 below any listen queue, so that none is refused */
    MAX_DATAGRAM = 1232,      /* of one datagram: what IPv6 takes everywhere */
    FIRST_SOURCE = 0x7f010000, /* 127.1.0.0, from which --sources counts */
    MAX_SOURCES = 100000,     /* all of them in 127.0.0.0/8 */
    TIME_REPLY_SIZE = 4,      /* RFC 868 */
    TIME_TOLERANCE = 5,       /* seconds between the server's clock and ours */
    NTP_SIZE = 48,            /* RFC 5905, as all below */
    NTP_ORIGIN = 24,
    NTP_TRANSMIT = 40,
    NTP_VERSION = 4,
    NTP_CLIENT = 3,
    NTP_SERVER = 4,
    NTP_NO_CLOCK = 3,
    NTP_NO_STRATUM = 16,
    STAMP_SIZE = 44,          /* RFC 8762, as all below */
    STAMP_SENT = 4,
    STAMP_RECEIVED = 16,
    STAMP_NUMBER = 24
};

static const uint32_t UNIX_EPOCH_IN_RFC868 = 2208988800u;
static const int64_t SECOND = 1000000000;

struct options {
    const char *mode;
    int port;
    int connections;
    int size;
    int in_flight;
    int sources; /* addresses that datagrams come from; 0: one */
    double seconds;
    double warm_up;
    double every; /* seconds between two messages of a connection; 0: at once */
    bool tls;
    bool resume;
    bool beside;
    const char *question;
    const char *answer;
    const char *datagram; /* in hexadecimal digits; may be NULL */
    const char *first; /* what is said before the questions of `ask`; may be NULL */
};

struct connection {
    int fd;
    void *tls;           /* OpenSSL's SSL; NULL: none */
    void *session;       /* of the last connection that ended well (--resume); NULL: none */
    unsigned index;
    bool served;         /* answered since the step began */
    int64_t since;       /* when the message or the connection began, or the last check, ns */
    uint64_t due;        /* messages whose turn has come (--every) */
    uint64_t sent;       /* bytes; datagrams for udp */
    uint64_t received;   /* bytes; datagrams answered or given up for udp */
    uint64_t checkpoint; /* datagrams sent before the last check */
};

struct totals {
    uint64_t messages;
    uint64_t bytes;
    uint64_t lost;
    int errors;
    int served;
    int closed;
    char first_error[128];
};

struct work {
    void (*open)(struct connection *);
    void (*resume)(struct connection *, int64_t); /* once all are open; may be NULL */
    void (*event)(struct connection *, uint32_t);
    void (*tick)(struct connection *, int64_t); /* may be NULL */
};

static struct options options = {
    .connections = 1, .size = 64, .in_flight = 1, .seconds = 1.0, .warm_up = 0.2
};
static struct totals totals;
static struct connection *connections;
static struct sockaddr_in target;
static char pattern[PATTERN_PERIOD + MAX_SIZE];  /* what is sent */
static char expected[PATTERN_PERIOD + MAX_SIZE]; /* what is answered */
static int period = PATTERN_PERIOD, stride = PATTERN_STRIDE;
static char buffer[MAX_SIZE];
static uint32_t *latencies;
static size_t latency_count;
static int poller;
static bool settling; /* until every connection was answered once */
static int unit = 1;  /* what `sent` and `received` count for each message */
static int64_t turn_at; /* when the next turn is (--every), ns */
static int64_t (*turns)[MAX_IN_FLIGHT]; /* of each connection, when the last ones were */

/* ------------------------------------------------------------- small pieces */

__attribute__((noreturn, format(printf, 1, 2)))
static void die(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(EXIT_FAILURE);
}

__attribute__((format(printf, 1, 2)))
static void count_error(const char *format, ...)
{
    va_list arguments;

    if (totals.errors++ > 0)
        return;
    va_start(arguments, format);
    vsnprintf(totals.first_error, sizeof totals.first_error, format, arguments);
    va_end(arguments);
}

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

static double cpu_seconds(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec
        + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* The program that started this answers a line when it is done looking at the server. */
static void mark_and_wait(const char *what, double seconds)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    char line[16];

    printf("%s\n", what);
    fflush(stdout);
    if (poll(&input, 1, (int)(seconds * 1000)) > 0 && read(STDIN_FILENO, line, sizeof line) < 0)
        die("standard input: %s", strerror(errno));
}

static void fill_random(void)
{
    uint32_t state = 2463534242u;

    for (int i = 0; i < PATTERN_PERIOD; i++) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        pattern[i] = expected[i] = (char)(state >> 24);
    }
}

/* Random bytes and their echo, or one question and its answer again and again. */
static void fill_pattern(void)
{
    if (options.question == NULL || strcmp(options.mode, "ask") == 0) {
        fill_random();
    } else {
        period = options.size;
        stride = 0;
        memcpy(pattern, options.question, period);
        memcpy(expected, options.answer, period);
    }
    for (int i = period; i < period + MAX_SIZE; i++) {
        pattern[i] = pattern[i - period];
        expected[i] = expected[i - period];
    }
}

static uint64_t place(const struct connection *c, uint64_t offset)
{
    return (c->index * (uint64_t)stride + offset) % period;
}

/* What a connection sends from its byte number `offset` on. */
static const char *pattern_at(const struct connection *c, uint64_t offset)
{
    return pattern + place(c, offset);
}

static void record_latency(int64_t nanoseconds)
{
    if (latency_count < MAX_SAMPLES)
        latencies[latency_count++] =
            nanoseconds > UINT32_MAX ? UINT32_MAX : (uint32_t)nanoseconds;
}

static int by_value(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

    return (a > b) - (a < b);
}

static double percentile_us(double share)
{
    if (latency_count == 0)
        return 0.0;
    return latencies[(size_t)((latency_count - 1) * share)] / 1e3;
}

/* Whether a message is sent when its turn comes, or as soon as another one was answered. */
static bool paced(void)
{
    return options.every > 0 && !settling;
}

/* What may have been sent by now. */
static uint64_t allowed(const struct connection *c)
{
    uint64_t window = c->received + (uint64_t)options.in_flight * unit;

    return paced() ? c->due * unit : window;
}

static void note_served(struct connection *c)
{
    if (!c->served) {
        c->served = true;
        totals.served++;
    }
}

static void watch(struct connection *c, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};

    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event) < 0)
        die("epoll_ctl: %s", strerror(errno));
}

static void drop(struct connection *c)
{
    close(c->fd);
    c->fd = -1;
    totals.closed++;
}

static int new_socket(int type)
{
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

    if (fd < 0)
        die("socket: %s", strerror(errno));
    return fd;
}

static void set_number(int fd, int level, int name, int value)
{
    setsockopt(fd, level, name, &value, sizeof value);
}

/* Connect and wait; a full listen queue makes the kernel try again by itself. */
static void connect_and_wait(struct connection *c)
{
    struct timeval limit = {.tv_sec = REPLY_SECONDS};

    c->fd = new_socket(SOCK_STREAM);
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    set_number(c->fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (connect(c->fd, (struct sockaddr *)&target, sizeof target) < 0)
        die("connection %u of %d: %s", c->index + 1, options.connections, strerror(errno));
}

/* ---------------------------------------------------------------------- tls */

/* Of openssl/ssl.h and openssl/tls1.h; these numbers and names are its ABI. */
enum {
    SSL_ERROR_WANT_READ = 2,
    SSL_ERROR_WANT_WRITE = 3,
    SSL_ERROR_ZERO_RETURN = 6,
    SSL_CTRL_MODE = 33,
    SSL_CTRL_SET_MIN_PROTO_VERSION = 123,
    SSL_MODES = 0x1 | 0x2, /* partial writes, from a buffer that may move */
    TLS1_3 = 0x0304
};

/* One for all servers, so that none is measured with a cheaper one. */
static const char CIPHER[] = "TLS_AES_128_GCM_SHA256";

static struct {
    void *context;
    void *(*new)(void *);
    int (*set_fd)(void *, int);
    int (*connect)(void *);
    int (*read)(void *, void *, int);
    int (*write)(void *, const void *, int);
    int (*error)(const void *, int);
    int (*set_session)(void *, void *);
    void *(*get_session)(void *);
    void (*free_session)(void *);
    int (*resumed)(const void *);
    int (*shutdown)(void *);
    void (*free)(void *);
} ssl;

static void *ssl_symbol(void *library, const char *name)
{
    void *found = dlsym(library, name);

    if (found == NULL)
        die("%s is not in libssl: %s", name, dlerror());
    return found;
}

/* A certificate is not verified: what is measured is the server. */
static void ssl_prepare(void)
{
    void *library = dlopen("libssl.so.3", RTLD_NOW);
    void *(*method)(void), *(*context)(const void *);
    long (*control)(void *, int, long, void *);
    int (*ciphers)(void *, const char *);

    if (library == NULL)
        die("no TLS: %s", dlerror());
    *(void **)&method = ssl_symbol(library, "TLS_client_method");
    *(void **)&context = ssl_symbol(library, "SSL_CTX_new");
    *(void **)&control = ssl_symbol(library, "SSL_CTX_ctrl");
    *(void **)&ciphers = ssl_symbol(library, "SSL_CTX_set_ciphersuites");
    *(void **)&ssl.new = ssl_symbol(library, "SSL_new");
    *(void **)&ssl.set_fd = ssl_symbol(library, "SSL_set_fd");
    *(void **)&ssl.connect = ssl_symbol(library, "SSL_connect");
    *(void **)&ssl.read = ssl_symbol(library, "SSL_read");
    *(void **)&ssl.write = ssl_symbol(library, "SSL_write");
    *(void **)&ssl.error = ssl_symbol(library, "SSL_get_error");
    *(void **)&ssl.set_session = ssl_symbol(library, "SSL_set_session");
    *(void **)&ssl.get_session = ssl_symbol(library, "SSL_get1_session");
    *(void **)&ssl.free_session = ssl_symbol(library, "SSL_SESSION_free");
    *(void **)&ssl.resumed = ssl_symbol(library, "SSL_session_reused");
    *(void **)&ssl.shutdown = ssl_symbol(library, "SSL_shutdown");
    *(void **)&ssl.free = ssl_symbol(library, "SSL_free");
    ssl.context = context(method());
    if (ssl.context == NULL || !ciphers(ssl.context, CIPHER))
        die("no TLS: libssl has no context for %s", CIPHER);
    control(ssl.context, SSL_CTRL_MODE, SSL_MODES, NULL);
    control(ssl.context, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_3, NULL);
}

static void ssl_begin(struct connection *c)
{
    c->tls = ssl.new(ssl.context);
    if (c->tls == NULL || !ssl.set_fd(c->tls, c->fd)
        || (c->session != NULL && !ssl.set_session(c->tls, c->session)))
        die("connection %u of %d: no TLS", c->index + 1, options.connections);
}

static void ssl_shake_hands(struct connection *c)
{
    ssl_begin(c);
    if (ssl.connect(c->tls) != 1)
        die("connection %u of %d: no TLS", c->index + 1, options.connections);
    fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_NONBLOCK);
}

/* Close, and keep what the next connection needs to resume the session. */
static void ssl_end(struct connection *c)
{
    if (options.resume) {
        if (c->session != NULL && !ssl.resumed(c->tls))
            count_error("connection %u: the session is not resumed", c->index);
        if (c->session != NULL)
            ssl.free_session(c->session);
        c->session = ssl.get_session(c->tls);
    }
    ssl.shutdown(c->tls);
    ssl.free(c->tls);
    c->tls = NULL;
}

/* What send(2) and recv(2) would return, with errno. */
static ssize_t ssl_result(const struct connection *c, int count)
{
    int error;

    if (count > 0)
        return count;
    error = ssl.error(c->tls, count);
    if (error == SSL_ERROR_ZERO_RETURN)
        return 0;
    errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
    return -1;
}

static ssize_t put(struct connection *c, const char *data, size_t size)
{
    if (c->tls != NULL)
        return ssl_result(c, ssl.write(c->tls, data, (int)size));
    return send(c->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static ssize_t get(struct connection *c)
{
    if (c->tls != NULL)
        return ssl_result(c, ssl.read(c->tls, buffer, sizeof buffer));
    return recv(c->fd, buffer, sizeof buffer, MSG_DONTWAIT);
}

/* --------------------------------------------------------------------- echo */

static void echo_send(struct connection *c, int64_t now)
{
    if (settling && c->served)
        return; /* leave the server's time to those that wait for their first answer */
    while (c->sent + options.size - c->sent % options.size <= allowed(c)) {
        size_t rest = options.size - c->sent % options.size;
        ssize_t sent = put(c, pattern_at(c, c->sent), rest);

        if (sent < 0) {
            if (errno != EAGAIN) {
                count_error("connection %u: send: %s", c->index, strerror(errno));
                drop(c);
            }
            return;
        }
        c->since = now;
        c->sent += sent;
    }
}

static void echo_open(struct connection *c)
{
    connect_and_wait(c);
    if (options.tls)
        ssl_shake_hands(c);
    watch(c, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
    echo_send(c, now_ns());
}

static bool echo_accept(struct connection *c, ssize_t count, int64_t now)
{
    uint64_t before = c->received / options.size;
    const char *wanted = expected + place(c, c->received);

    if (c->received + count > c->sent || memcmp(buffer, wanted, count)) {
        count_error("connection %u: the reply differs from what was sent", c->index);
        drop(c);
        return false;
    }
    c->received += count;
    totals.bytes += count;
    if (c->received / options.size > before) {
        totals.messages += c->received / options.size - before;
        for (; before < c->received / options.size; before++)
            record_latency(now - (paced() ? turns[c->index][before % MAX_IN_FLIGHT] : c->since));
        note_served(c);
    }
    return true;
}

/* Edge-triggered: read until nothing is left; a short read means just that, but in TLS. */
static void echo_event(struct connection *c, uint32_t events)
{
    bool ended = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    int64_t now = now_ns();
    ssize_t count;

    do {
        count = get(c);
        if (count > 0 && !echo_accept(c, count, now))
            return;
    } while (count == MAX_SIZE || (count > 0 && (ended || c->tls != NULL)));
    if (count == 0 || (count < 0 && errno != EAGAIN)) {
        count_error("connection %u: %s", c->index, count ? strerror(errno) : "EOF");
        drop(c);
        return;
    }
    echo_send(c, now);
}

/* ---------------------------------------------------------------------- ask */

/* Here `sent` counts questions, `received` replies, `checkpoint` the bytes of one. */
static void ask_send(struct connection *c, int64_t now)
{
    size_t size = strlen(options.question);

    if ((settling && c->served) || c->sent > c->received)
        return;
    if (put(c, options.question, size) != (ssize_t)size) {
        count_error("connection %u: a question is not sent", c->index);
        drop(c);
        return;
    }
    c->since = now;
    c->sent++;
}

/* Say what comes first, and read a head of HTTP. */
static void ask_first(const struct connection *c)
{
    char head[4] = "";

    if (send(c->fd, options.first, strlen(options.first), MSG_NOSIGNAL) < 0)
        die("connection %u of %d: %s", c->index + 1, options.connections, strerror(errno));
    while (memcmp(head, "\r\n\r\n", sizeof head) != 0) {
        memmove(head, head + 1, sizeof head - 1);
        if (recv(c->fd, head + sizeof head - 1, 1, 0) != 1)
            die("connection %u of %d: no head", c->index + 1, options.connections);
    }
}

static void ask_open(struct connection *c)
{
    connect_and_wait(c);
    if (options.first != NULL)
        ask_first(c);
    watch(c, EPOLLIN | EPOLLRDHUP | EPOLLET);
    ask_send(c, now_ns());
}

static bool ask_accept(struct connection *c, ssize_t count, int64_t now)
{
    size_t size = strlen(options.answer);
    bool whole = (c->checkpoint += count) == (uint64_t)options.size;
    const char *end = buffer + count - size;

    if (c->checkpoint > (uint64_t)options.size
        || (whole && (count < (ssize_t)size || memcmp(end, options.answer, size)))) {
        count_error("connection %u: the reply is another one", c->index);
        drop(c);
        return false;
    }
    totals.bytes += count;
    if (whole) {
        c->checkpoint = 0;
        c->received++;
        totals.messages++;
        record_latency(now - c->since);
        note_served(c);
    }
    return true;
}

static void ask_event(struct connection *c, uint32_t events)
{
    int64_t now = now_ns();
    ssize_t count = get(c);

    if (count > 0 && !ask_accept(c, count, now))
        return;
    if (count == 0 || (count < 0 && errno != EAGAIN) || (events & (EPOLLHUP | EPOLLERR))) {
        count_error("connection %u: %s", c->index, count ? strerror(errno) : "EOF");
        drop(c);
        return;
    }
    ask_send(c, now);
}

/* ----------------------------------------------------------------- connects */

/* One socket on its way from `source`; false: see errno. */
static bool connects_start(struct connection *c, unsigned source)
{
    struct sockaddr_in address = {.sin_family = AF_INET};

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + source);
    c->fd = new_socket(SOCK_STREAM | SOCK_NONBLOCK);
    set_number(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    if (bind(c->fd, (struct sockaddr *)&address, sizeof address) == 0
        && (connect(c->fd, (struct sockaddr *)&target, sizeof target) == 0
            || errno == EINPROGRESS))
        return true;
    close(c->fd);
    c->fd = -1;
    return false;
}

/* False: the connection is not there yet. */
static bool connects_send(struct connection *c)
{
    ssize_t sent;

    if (c->tls != NULL && ssl_result(c, ssl.connect(c->tls)) < 1)
        return false;
    sent = put(c, pattern_at(c, 0), options.size);
    if (sent < 0)
        return false;
    c->sent = sent;
    if (c->tls == NULL)
        shutdown(c->fd, SHUT_WR);
    return true;
}

static void connects_open(struct connection *c)
{
    static unsigned turn;

    c->since = now_ns();
    c->sent = c->received = 0;
    for (int attempt = 0; attempt < SOURCES; attempt++) {
        if (connects_start(c, turn++ / PER_SOURCE % SOURCES)) {
            uint32_t writable = EPOLLOUT;

            if (options.tls)
                ssl_begin(c);
            else if (connects_send(c))
                writable = 0;
            watch(c, EPOLLIN | EPOLLRDHUP | EPOLLET | writable);
            return;
        }
        if (errno != EADDRNOTAVAIL) /* which says: no port is left at this address */
            break;
        turn += PER_SOURCE - turn % PER_SOURCE;
    }
    count_error("connect: %s", strerror(errno));
}

static void connects_finish(struct connection *c, int error)
{
    if (error)
        count_error("after %d of %d bytes: %s", (int)c->received, options.size, strerror(error));
    else if (c->received != (uint64_t)options.size)
        count_error("EOF after %d of %d bytes", (int)c->received, options.size);
    else {
        totals.messages++;
        totals.bytes += c->received;
        record_latency(now_ns() - c->since);
        note_served(c);
    }
    if (c->tls != NULL)
        ssl_end(c);
    close(c->fd);
    connects_open(c);
}

static void connects_event(struct connection *c, uint32_t events)
{
    ssize_t count;

    if (c->sent == 0 && (c->tls != NULL || events & EPOLLOUT) && !connects_send(c)
        && errno != EAGAIN) {
        connects_finish(c, errno);
        return;
    }
    if (c->tls != NULL && c->sent == 0)
        return;
    while ((count = get(c)) > 0) {
        if (c->received + count > (uint64_t)options.size
            || memcmp(buffer, pattern_at(c, c->received), count)) {
            connects_finish(c, EBADMSG);
            return;
        }
        c->received += count;
        if (c->tls != NULL && c->received == (uint64_t)options.size) {
            connects_finish(c, 0);
            return;
        }
    }
    if (count == 0 || errno != EAGAIN)
        connects_finish(c, count ? errno : 0);
}

static void connects_tick(struct connection *c, int64_t now)
{
    if (c->fd < 0)
        connects_open(c);
    else if (now - c->since > REPLY_SECONDS * SECOND)
        connects_finish(c, ETIMEDOUT);
}

/* ---------------------------------------------------------------- datagrams */

/* What is asked, and what answers it. */
struct question {
    const char *mode;
    int size;      /* of an answer, and of what is asked; but of the time */
    int number_at; /* where a datagram has its number; -1: it has none */
    bool (*is_answered)(const struct connection *, const unsigned char *);
};

static struct question question; /* its mode is NULL if no datagrams are asked for */
static struct mmsghdr outgoing[MAX_IN_FLIGHT], incoming[MAX_IN_FLIGHT];
static struct iovec requests[MAX_IN_FLIGHT], replies[MAX_IN_FLIGHT];
static unsigned char request_bytes[MAX_IN_FLIGHT][MAX_DATAGRAM];
static unsigned char reply_bytes[MAX_IN_FLIGHT][MAX_DATAGRAM + 1];
static union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
} sources[MAX_IN_FLIGHT];

/* Each socket has its part of the sources, which take turns. */
static unsigned sources_of_one(void)
{
    return options.sources > 0 ? options.sources / options.connections : 1;
}

static uint32_t read_number(const unsigned char *bytes)
{
    uint32_t found;

    memcpy(&found, bytes, sizeof found);
    return ntohl(found);
}

static void write_number(unsigned char *bytes, uint32_t value)
{
    value = htonl(value);
    memcpy(bytes, &value, sizeof value);
}

/* The reply is a time of the day: seconds since 1970, or since 1900 as in RFC 868. */
static bool is_time(const struct connection *c, const unsigned char *reply)
{
    uint32_t seconds = read_number(reply) - (uint32_t)time(NULL) + TIME_TOLERANCE;

    (void)c;
    return seconds <= 2 * TIME_TOLERANCE
        || seconds - UNIX_EPOCH_IN_RFC868 <= 2 * TIME_TOLERANCE;
}

/* The reply of a server with a clock (RFC 5905) has the time that was sent, here a number. */
static bool is_ntp(const struct connection *c, const unsigned char *reply)
{
    unsigned leap = reply[0] >> 6, version = reply[0] >> 3 & 7, mode = reply[0] & 7;

    return leap != NTP_NO_CLOCK && version == NTP_VERSION && mode == NTP_SERVER
        && reply[1] >= 1 && reply[1] < NTP_NO_STRATUM
        && read_number(reply + NTP_ORIGIN + 4) <= c->sent;
}

static uint64_t read_timestamp(const unsigned char *bytes)
{
    return (uint64_t)read_number(bytes) << 32 | read_number(bytes + 4);
}

static bool is_stamp(const struct connection *c, const unsigned char *reply)
{
    uint64_t received = read_timestamp(reply + STAMP_RECEIVED);
    uint64_t took = read_timestamp(reply + STAMP_SENT) - received; /* of a second's 2^-32 */

    record_latency(took * (SECOND >> 9) >> 23);
    return received != 0 && took != 0 && took < UINT32_MAX
        && read_number(reply + STAMP_NUMBER) <= c->sent;
}

static const struct question questions[] = {
    {"udp", TIME_REPLY_SIZE, -1, is_time},
    {"ntp", NTP_SIZE, NTP_TRANSMIT + 4, is_ntp},
    {"nts", NTP_SIZE, -1, is_ntp},
    {"stamp", STAMP_SIZE, 0, is_stamp},
};

/* What --datagram says, in place of what would be asked. */
static void read_datagram(void)
{
    int size = options.datagram != NULL ? (int)strlen(options.datagram) / 2 : 0;

    if (size < question.size || size > MAX_DATAGRAM)
        die("--datagram has %d to %d bytes", question.size, MAX_DATAGRAM);
    for (int i = 0; i < size; i++)
        if (sscanf(options.datagram + 2 * i, "%2hhx", &request_bytes[0][i]) != 1)
            die("--datagram: not hexadecimal");
    for (int i = 1; i < MAX_IN_FLIGHT; i++)
        memcpy(request_bytes[i], request_bytes[0], size);
    question.size = size;
}

static void use_source(int slot)
{
    struct msghdr *head = &outgoing[slot].msg_hdr;
    struct cmsghdr *control = &sources[slot].header;

    head->msg_name = &target;
    head->msg_namelen = sizeof target;
    head->msg_control = control;
    head->msg_controllen = sizeof sources[slot];
    control->cmsg_level = IPPROTO_IP;
    control->cmsg_type = IP_PKTINFO;
    control->cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo));
}

static void prepare_datagrams(void)
{
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++)
        if (strcmp(options.mode, questions[i].mode) == 0)
            question = questions[i];
    if (question.mode != NULL && strcmp(question.mode, "nts") == 0)
        read_datagram();
    for (int i = 0; i < MAX_IN_FLIGHT; i++) {
        int size = question.is_answered == is_time ? options.size : question.size;

        if (question.is_answered == is_ntp)
            request_bytes[i][0] = NTP_VERSION << 3 | NTP_CLIENT;
        requests[i] = (struct iovec){request_bytes[i], size};
        replies[i] = (struct iovec){reply_bytes[i], question.size + 1};
        outgoing[i].msg_hdr = (struct msghdr){.msg_iov = &requests[i], .msg_iovlen = 1};
        incoming[i].msg_hdr = (struct msghdr){.msg_iov = &replies[i], .msg_iovlen = 1};
        if (options.sources > 0)
            use_source(i);
    }
}

static void set_source(const struct connection *c, int slot)
{
    unsigned each = sources_of_one();
    struct in_pktinfo info = {.ipi_ifindex = 0};

    info.ipi_spec_dst.s_addr =
        htonl(FIRST_SOURCE + c->index * each + (c->sent + slot) % each);
    memcpy(CMSG_DATA(&sources[slot].header), &info, sizeof info);
}

/* The numbers of each source are its own: they begin at 0. */
static void datagrams_send(struct connection *c, int64_t now)
{
    int wanted = (int)(allowed(c) - c->sent), count;

    (void)now;
    for (int i = 0; i < wanted; i++) {
        if (question.number_at >= 0)
            write_number(request_bytes[i] + question.number_at,
                         (c->sent + i) / sources_of_one());
        if (options.sources > 0)
            set_source(c, i);
    }
    if (wanted <= 0)
        return;
    count = sendmmsg(c->fd, outgoing, wanted, MSG_DONTWAIT);
    if (count > 0)
        c->sent += count;
    else if (count < 0 && errno != EAGAIN)
        count_error("socket %u: sendmmsg: %s", c->index, strerror(errno));
}

/* With many sources it is bound to no address: each datagram has its own. */
static void datagrams_open(struct connection *c)
{
    struct sockaddr_in any = {.sin_family = AF_INET};

    c->fd = new_socket(SOCK_DGRAM);
    if (options.sources > 0 ? bind(c->fd, (struct sockaddr *)&any, sizeof any)
                            : connect(c->fd, (struct sockaddr *)&target, sizeof target))
        die("a socket for datagrams: %s", strerror(errno));
    watch(c, EPOLLIN);
    datagrams_send(c, now_ns());
}

static void datagrams_event(struct connection *c, uint32_t events)
{
    int count = recvmmsg(c->fd, incoming, MAX_IN_FLIGHT, MSG_DONTWAIT, NULL);

    (void)events;
    if (count < 0) {
        if (errno != EAGAIN)
            count_error("socket %u: recvmmsg: %s", c->index, strerror(errno));
        return;
    }
    for (int i = 0; i < count; i++)
        if (incoming[i].msg_len != (unsigned)question.size
            || !question.is_answered(c, reply_bytes[i]))
            count_error("socket %u: %u bytes that are no answer", c->index, incoming[i].msg_len);
    totals.messages += count;
    c->received = c->received + count < c->sent ? c->received + count : c->sent;
    note_served(c);
    datagrams_send(c, now_ns());
}

/* Answers to empty datagrams look alike and come in order: what was sent before
 * the last check has to be answered by now, or is lost and sent again. */
static void datagrams_tick(struct connection *c, int64_t now)
{
    if (now - c->since < RESEND_MS * (SECOND / 1000))
        return;
    if (c->received < c->checkpoint) {
        totals.lost += c->checkpoint - c->received;
        c->received = c->checkpoint;
    }
    c->since = now;
    c->checkpoint = c->sent;
    datagrams_send(c, now_ns());
}

/* --------------------------------------------------------------------- idle */

static bool idle_ask(struct connection *c)
{
    const char *question = pattern_at(c, 0);

    if (send(c->fd, question, options.size, MSG_NOSIGNAL) != options.size)
        return false;
    if (recv(c->fd, buffer, options.size, MSG_WAITALL) != options.size)
        return false;
    return memcmp(buffer, question, options.size) == 0;
}

/* The accept queue is first in, first out: an answer to the newest connection
 * says that all before it were accepted. */
static void idle_open_all(int64_t deadline)
{
    for (int i = 0; i < options.connections; i++) {
        bool last = i + 1 == options.connections;

        connect_and_wait(&connections[i]);
        if ((last || i % PACE == PACE - 1) && !idle_ask(&connections[i]))
            die("connection %d of %d is not answered", i + 1, options.connections);
        if (now_ns() > deadline)
            die("only %d of %d connections in %d s", i + 1, options.connections, SET_UP_SECONDS);
    }
}

static void run_idle(void)
{
    int step = options.connections > SAMPLE ? options.connections / SAMPLE : 1;
    int asked = 0, answered = 0;
    int64_t begin = now_ns();
    double opening;

    idle_open_all(begin + SET_UP_SECONDS * SECOND);
    opening = (double)(now_ns() - begin) / SECOND;
    mark_and_wait("held", options.seconds);
    begin = now_ns();
    for (int i = 0; i < options.connections && now_ns() - begin < SET_UP_SECONDS * SECOND;
         i += step, asked++)
        answered += idle_ask(&connections[i]);
    printf("{\"mode\": \"idle\", \"seconds\": %.6f, \"messages\": %d, \"asked\": %d, "
           "\"errors\": %d, \"first_error\": \"%s\"}\n",
           opening, answered, asked, asked - answered,
           asked == answered ? "" : "an idle connection was not answered");
}

/* ------------------------------------------------------------------ the run */

static void poll_once(const struct work *work)
{
    static struct epoll_event events[MAX_EVENTS];
    double step = options.every * 1000 / options.connections;
    int wait = options.every == 0 ? TICK_MS : step < 1 ? 0 : 1;
    int count = epoll_wait(poller, events, MAX_EVENTS, wait);

    if (count < 0 && errno != EINTR)
        die("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < count; i++)
        work->event(events[i].data.ptr, events[i].events);
}

/* A message is due, whether or not the last one was answered: how late it is counts from here. */
static void be_due(struct connection *c, int64_t when)
{
    uint64_t sent = (c->sent + unit - 1) / unit;

    if (c->due < sent)
        c->due = sent; /* without a turn, before there were any */
    if (c->due - c->received / unit < MAX_IN_FLIGHT)
        turns[c->index][c->due++ % MAX_IN_FLIGHT] = when;
    else
        totals.lost++;
}

/* With --every, each connection has its turn in each period, all equally far apart. */
static void send_due(const struct work *work, int64_t now)
{
    static int turn;
    int64_t step = (int64_t)(options.every * SECOND / options.connections);

    if (turn_at == 0)
        turn_at = now;
    for (; turn_at <= now; turn_at += step, turn = (turn + 1) % options.connections) {
        be_due(&connections[turn], turn_at);
        work->resume(&connections[turn], now);
    }
}

static void tick_all(const struct work *work, int64_t now)
{
    static int64_t next;

    if (work->tick == NULL || now < next)
        return;
    next = now + TICK_MS * (SECOND / 1000);
    for (int i = 0; i < options.connections; i++)
        work->tick(&connections[i], now);
}

static bool hopeless(void)
{
    return totals.errors > MAX_ERRORS || totals.closed == options.connections;
}

/* Serve events until the deadline, or until all connections were answered. */
static int64_t run_until(const struct work *work, int64_t deadline, bool until_served)
{
    int64_t now = now_ns();

    while (now < deadline && !hopeless()
           && !(until_served && totals.served == options.connections)) {
        poll_once(work);
        now = now_ns();
        if (paced())
            send_due(work, now);
        tick_all(work, now);
    }
    return now;
}

/* Begin to count; what was in flight during the pause counts from its end. */
static void reset_totals(int64_t now)
{
    totals.messages = totals.bytes = totals.lost = 0;
    totals.served = 0;
    latency_count = 0;
    turn_at = now;
    for (int i = 0; i < options.connections; i++) {
        connections[i].served = false;
        connections[i].since = now;
        for (int j = 0; paced() && j < MAX_IN_FLIGHT; j++)
            turns[i][j] = now;
    }
}

static void settle(const struct work *work)
{
    settling = true;
    for (int i = 0; i < options.connections; i++)
        work->open(&connections[i]);
    run_until(work, now_ns() + SET_UP_SECONDS * SECOND, true);
    if (totals.errors)
        die("%d errors before the measurement; the first: %s", totals.errors,
            totals.first_error);
    if (totals.served < options.connections)
        die("only %d of %d connections were answered within %d s", totals.served,
            options.connections, SET_UP_SECONDS);
    settling = false;
}

static void warm_up(const struct work *work)
{
    for (int i = 0; work->resume != NULL && i < options.connections; i++)
        work->resume(&connections[i], now_ns());
    run_until(work, now_ns() + (int64_t)(options.warm_up * SECOND), false);
}

static void print_result(double seconds, double busy)
{
    qsort(latencies, latency_count, sizeof *latencies, by_value);
    printf("{\"mode\": \"%s\", \"seconds\": %.6f, \"messages\": %llu, \"bytes\": %llu, "
           "\"p50_us\": %.1f, \"p99_us\": %.1f, \"lost\": %llu, \"unserved\": %d, "
           "\"load_busy\": %.3f, \"errors\": %d, \"first_error\": \"%s\"}\n",
           options.mode, seconds, (unsigned long long)totals.messages,
           (unsigned long long)totals.bytes, percentile_us(0.50), percentile_us(0.99),
           (unsigned long long)totals.lost, options.connections - totals.served,
           busy / seconds, totals.errors, totals.first_error);
}

static void run_measured(const struct work *work)
{
    int64_t begin, end;
    double cpu;

    settle(work);
    warm_up(work);
    mark_and_wait("begin", LOOK_SECONDS);
    begin = now_ns();
    reset_totals(begin);
    cpu = cpu_seconds();
    end = run_until(work, begin + (int64_t)(options.seconds * SECOND), false);
    cpu = cpu_seconds() - cpu;
    mark_and_wait("end", LOOK_SECONDS);
    print_result((double)(end - begin) / SECOND, cpu);
}

/* ------------------------------------------------------------------ options */

static double number(const char *name, const char *text, double least, double most)
{
    char *rest;
    double value = strtod(text, &rest);

    if (rest == text || *rest != '\0' || !(value >= least && value <= most))
        die("%s %s: a number from %g to %g is wanted", name, text, least, most);
    return value;
}

static void set_option(const char *name, const char *text)
{
    if (strcmp(name, "--port") == 0)
        options.port = (int)number(name, text, 1, 65535);
    else if (strcmp(name, "--connections") == 0)
        options.connections = (int)number(name, text, 1, MAX_CONNECTIONS);
    else if (strcmp(name, "--size") == 0)
        options.size = (int)number(name, text, 0, MAX_SIZE);
    else if (strcmp(name, "--in-flight") == 0)
        options.in_flight = (int)number(name, text, 1, MAX_IN_FLIGHT);
    else if (strcmp(name, "--sources") == 0)
        options.sources = (int)number(name, text, 1, MAX_SOURCES);
    else if (strcmp(name, "--seconds") == 0)
        options.seconds = number(name, text, 0.01, 60);
    else if (strcmp(name, "--warm-up") == 0)
        options.warm_up = number(name, text, 0, 60);
    else if (strcmp(name, "--every") == 0)
        options.every = number(name, text, 0, 60);
    else if (strcmp(name, "--tls") == 0)
        options.tls = number(name, text, 0, 1) > 0;
    else if (strcmp(name, "--resume") == 0)
        options.resume = number(name, text, 0, 1) > 0;
    else if (strcmp(name, "--beside") == 0)
        options.beside = number(name, text, 0, 1) > 0;
    else if (strcmp(name, "--question") == 0)
        options.question = text;
    else if (strcmp(name, "--answer") == 0)
        options.answer = text;
    else if (strcmp(name, "--datagram") == 0)
        options.datagram = text;
    else if (strcmp(name, "--first") == 0)
        options.first = text;
    else
        die("unknown option %s", name);
}

static void read_question(void)
{
    if (strcmp(options.mode, "ask") == 0 && options.question != NULL && options.answer != NULL)
        return;
    if (options.question == NULL || options.answer == NULL
        || strlen(options.question) != strlen(options.answer) || options.question[0] == '\0')
        die("--question and --answer go together, and are equally long");
    if (strcmp(options.mode, "echo") != 0 || strlen(options.question) > MAX_SIZE)
        die("--question is for echo only, and has %d bytes at most", MAX_SIZE);
    options.size = (int)strlen(options.question);
}

static void read_options(int count, char **words)
{
    if (count < 2)
        die("usage: load echo|ask|connects|udp|ntp|nts|stamp|idle --port PORT [--option value ...]");
    options.mode = words[1];
    for (int i = 2; i < count; i += 2)
        set_option(words[i], i + 1 < count ? words[i + 1] : "");
    if (options.port == 0)
        die("--port is missing");
    if (options.size == 0 && strcmp(options.mode, "udp") != 0)
        die("--size 0 is for udp only");
    if (options.tls && strcmp(options.mode, "echo") != 0 && strcmp(options.mode, "connects") != 0)
        die("--tls is for echo and connects only");
    if (options.every > 0 && (strcmp(options.mode, "connects") == 0
                              || strcmp(options.mode, "ask") == 0
                              || strcmp(options.mode, "idle") == 0))
        die("--every is for echo and datagrams only");
    if (options.sources > 0 && options.sources < options.connections)
        die("--sources: each socket needs one");
    if (strcmp(options.mode, "udp") == 0 && options.size > MAX_DATAGRAM)
        die("--size of datagrams is %d at most", MAX_DATAGRAM);
    if (options.question != NULL || options.answer != NULL || strcmp(options.mode, "ask") == 0)
        read_question();
}

static void prepare(void)
{
    target = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(options.port)};
    target.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (options.tls || options.beside));
    if (options.tls)
        ssl_prepare();
    connections = calloc(options.connections, sizeof *connections);
    turns = calloc(options.connections, sizeof *turns);
    latencies = malloc(MAX_SAMPLES * sizeof *latencies);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (connections == NULL || turns == NULL || latencies == NULL || poller < 0)
        die("no memory or no epoll: %s", strerror(errno));
    for (int i = 0; i < options.connections; i++)
        connections[i] = (struct connection){.fd = -1, .index = i};
    fill_pattern();
    prepare_datagrams();
    unit = strcmp(options.mode, "echo") == 0 ? options.size : 1;
    alarm((unsigned)(options.seconds + options.warm_up) + 2 * SET_UP_SECONDS + SPARE_SECONDS);
}

int main(int count, char **words)
{
    static const struct work echo = {echo_open, echo_send, echo_event, NULL};
    static const struct work ask = {ask_open, ask_send, ask_event, NULL};
    static const struct work connects = {connects_open, NULL, connects_event, connects_tick};
    static const struct work datagrams = {
        datagrams_open, datagrams_send, datagrams_event, datagrams_tick
    };

    read_options(count, words);
    prepare();
    if (strcmp(options.mode, "echo") == 0)
        run_measured(&echo);
    else if (strcmp(options.mode, "ask") == 0)
        run_measured(&ask);
    else if (strcmp(options.mode, "connects") == 0)
        run_measured(&connects);
    else if (question.mode != NULL)
        run_measured(&datagrams);
    else if (strcmp(options.mode, "idle") == 0)
        run_idle();
    else
        die("unknown mode %s", options.mode);
    return EXIT_SUCCESS;
}
