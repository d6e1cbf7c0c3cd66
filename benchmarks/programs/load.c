/* The load client: one thread, epoll, so that the server is what is measured.
 *
 * load echo PORT CONNECTIONS SIZE WINDOW SECONDS    messages that come back, WINDOW of them under way on each connection
 * load accept PORT CONNECTIONS SIZE WINDOW SECONDS  connect, send SIZE bytes, read them back, close; WINDOW is not used
 *
 * After 0.3 s of warming up it prints "go", after SECONDS more "done COUNT ERRORS".
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

struct link {
    int socket;
    long owed;     /* bytes still to be written */
    long received; /* bytes of the present message that are here */
};

static int poller, port, size, window, reopen;
static long count, errors, opened;
static char buffer[1 << 16];

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void dial(struct link *link) {
    int one = 1;
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = link};
    link->socket = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    link->owed = (long)size * window;
    link->received = 0;
    setsockopt(link->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    /* Many source addresses: closed connections must not use up the ports of one. */
    setsockopt(link->socket, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    from.sin_addr.s_addr = htonl(0x7f000101 + opened++ % 250);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bind(link->socket, (struct sockaddr *)&from, sizeof from);
    if (connect(link->socket, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS)
        errors++;
    epoll_ctl(poller, EPOLL_CTL_ADD, link->socket, &event);
}

static void redial(struct link *link, int failed) {
    errors += failed;
    close(link->socket);
    if (failed)
        usleep(1000);
    dial(link);
}

static void serve(struct link *link, unsigned events) {
    if (events & (EPOLLERR | EPOLLHUP)) {
        redial(link, 1);
        return;
    }
    if (events & (EPOLLIN | EPOLLRDHUP)) {
        for (;;) {
            long got = read(link->socket, buffer, sizeof buffer);
            if (got < 0 && errno == EAGAIN)
                break;
            if (got <= 0) {
                redial(link, 1);
                return;
            }
            for (link->received += got; link->received >= size; link->received -= size) {
                count++;
                if (reopen) {
                    redial(link, 0);
                    return;
                }
                link->owed += size;
            }
            if (got < (long)sizeof buffer)
                break;
        }
    }
    while (link->owed > 0) {
        long put = write(link->socket, buffer, link->owed < (long)sizeof buffer ? link->owed : (long)sizeof buffer);
        if (put < 0) {
            if (errno != EAGAIN)
                redial(link, 1);
            return;
        }
        link->owed -= put;
    }
}

int main(int argc, char **argv) {
    if (argc != 7)
        return 2;
    int links = atoi(argv[3]);
    double seconds = atof(argv[6]), begin = now() + 0.3;
    struct epoll_event events[256];
    reopen = !strcmp(argv[1], "accept");
    port = atoi(argv[2]);
    size = atoi(argv[4]);
    window = reopen ? 1 : atoi(argv[5]);
    poller = epoll_create1(0);
    memset(buffer, 'x', sizeof buffer);
    for (int i = 0; i < links; i++)
        dial(calloc(1, sizeof(struct link)));
    for (int measuring = 0;; ) {
        int ready = epoll_wait(poller, events, 256, 100);
        for (int i = 0; i < ready; i++)
            serve(events[i].data.ptr, events[i].events);
        double time = now();
        if (!measuring && time >= begin) {
            measuring = 1;
            count = errors = 0;
            puts("go");
            fflush(stdout);
        }
        if (measuring && time >= begin + seconds)
            break;
    }
    printf("done %ld %ld\n", count, errors);
    return 0;
}
