/*
 * udp_time: answers the time to every datagram, one recvfrom and one sendto
 * each. What a careful C program of one page gives.
 *
 *   udp_time --port P     (0: any free one; says "ready P")
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static void die(const char *what)
{
    perror(what);
    exit(EXIT_FAILURE);
}

static int bind_at(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        die("bind");
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

static void answer(int fd)
{
    struct sockaddr_storage source;
    socklen_t length = sizeof source;
    char question[65536];
    uint32_t seconds;

    if (recvfrom(fd, question, sizeof question, 0, (struct sockaddr *)&source, &length) < 0)
        return;
    seconds = htonl((uint32_t)time(NULL));
    sendto(fd, &seconds, sizeof seconds, 0, (struct sockaddr *)&source, length);
}

int main(int count, char **words)
{
    int asked = count == 3 && strcmp(words[1], "--port") == 0;
    int fd = bind_at(asked ? atoi(words[2]) : 0);

    announce(fd);
    for (;;)
        answer(fd);
}
