/*
 * epoll_echo: a TCP echo server, one thread, level-triggered epoll. What the
 * machine gives when nothing stands between the program and the kernel.
 *
 *   epoll_echo --port P [--beside]   (0: any free one; says "ready P")
 *
 * --beside: at 127.0.0.2, for a relay that has the port at 127.0.0.1.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READ_SIZE = 65536,  /* one block of the bulk work */
    BACKLOG = 4096,     /* as every peer */
    MAX_EVENTS = 1024   /* as the load */
};

struct connection {
    int fd;
    char *rest;         /* what the socket did not take yet; NULL: nothing */
    size_t begin, end;
};

static int poller;
static char buffer[READ_SIZE];

static void die(const char *what)
{
    perror(what);
    exit(EXIT_FAILURE);
}

static void drop(struct connection *c)
{
    close(c->fd);
    free(c->rest);
    free(c);
}

static void control(int operation, struct connection *c, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};

    if (epoll_ctl(poller, operation, c->fd, &event) < 0)
        die("epoll_ctl");
}

static void accept_one(struct connection *listener)
{
    int on = 1, fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct connection *c;

    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c = calloc(1, sizeof *c);
    if (c == NULL)
        die("calloc");
    c->fd = fd;
    control(EPOLL_CTL_ADD, c, EPOLLIN);
}

/* Keep what the socket refused, and read no more until it is gone. */
static void keep(struct connection *c, size_t begin, size_t end)
{
    c->rest = malloc(end - begin);
    if (c->rest == NULL)
        die("malloc");
    memcpy(c->rest, buffer + begin, end - begin);
    c->begin = 0;
    c->end = end - begin;
    control(EPOLL_CTL_MOD, c, EPOLLOUT);
}

static void flush(struct connection *c)
{
    ssize_t sent = send(c->fd, c->rest + c->begin, c->end - c->begin, MSG_NOSIGNAL);

    if (sent < 0) {
        if (errno != EAGAIN)
            drop(c);
        return;
    }
    c->begin += sent;
    if (c->begin < c->end)
        return;
    free(c->rest);
    c->rest = NULL;
    control(EPOLL_CTL_MOD, c, EPOLLIN);
}

static void echo(struct connection *c)
{
    ssize_t sent, count = recv(c->fd, buffer, sizeof buffer, 0);

    if (count <= 0) {
        if (count == 0 || errno != EAGAIN)
            drop(c);
        return;
    }
    sent = send(c->fd, buffer, count, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        drop(c);
    else if (sent < count)
        keep(c, sent < 0 ? 0 : sent, count);
}

static int listen_at(int port, bool beside)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + beside);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0
        || listen(fd, BACKLOG) < 0)
        die("listen");
    return fd;
}

static void announce(int fd)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;

    getsockname(fd, (struct sockaddr *)&address, &length);
    printf("ready %d\n", ntohs(address.sin_port));
    fflush(stdout);
}

static void serve(struct connection *listener)
{
    static struct epoll_event events[MAX_EVENTS];
    int count = epoll_wait(poller, events, MAX_EVENTS, -1);

    for (int i = 0; i < count; i++) {
        struct connection *c = events[i].data.ptr;

        if (c == listener)
            accept_one(c);
        else if (c->rest != NULL)
            flush(c);
        else
            echo(c);
    }
}

int main(int count, char **words)
{
    bool asked = count >= 3 && strcmp(words[1], "--port") == 0;
    bool beside = count == 4 && strcmp(words[3], "--beside") == 0;
    struct connection listener = {.fd = listen_at(asked ? atoi(words[2]) : 0, beside)};

    poller = epoll_create1(EPOLL_CLOEXEC);
    control(EPOLL_CTL_ADD, &listener, EPOLLIN);
    announce(listener.fd);
    for (;;)
        serve(&listener);
}
