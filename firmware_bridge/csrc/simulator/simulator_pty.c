#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <simavr/avr_uart.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "simulator.h"

#define UNCONFIGURED B134
#define IN_A_TICK 8

void pty_open(pty *p)
{
    struct termios mode;
    int slave;
    if (openpty(&p->master, &slave, p->path, NULL, NULL) < 0)
        fail("cannot open a pseudo-terminal: %s", strerror(errno));
    tcgetattr(slave, &mode);
    cfmakeraw(&mode);
    cfsetspeed(&mode, UNCONFIGURED);
    tcsetattr(slave, TCSANOW, &mode);
    close(slave);
    fcntl(p->master, F_SETFL, O_NONBLOCK);
    if (p->link) {
        char temporary[512];
        snprintf(temporary, sizeof temporary, "%s.new", p->link);
        unlink(temporary);
        if (symlink(p->path, temporary) < 0 || rename(temporary, p->link) < 0)
            fail("cannot create the link %s: %s", p->link, strerror(errno));
    }
    p->head = p->used = p->in_used = 0;
}

void pty_close(pty *p)
{
    if (p->master < 0)
        return;
    if (p->link)
        unlink(p->link);
    close(p->master);
    p->master = -1;
    p->used = p->in_used = 0;
}

bool pty_has_reader(const pty *p)
{
    struct pollfd node = {.fd = p->master};
    return p->master >= 0 && poll(&node, 1, 0) >= 0 && !(node.revents & POLLHUP);
}

bool pty_configured(const pty *p)
{
    struct termios mode;
    return tcgetattr(p->master, &mode) == 0 && cfgetospeed(&mode) != UNCONFIGURED;
}

bool pty_drained(const pty *p)
{
    int slave, waiting = 0;
    if (p->used > 0)
        return false;
    slave = open(p->path, O_RDWR | O_NOCTTY | O_NONBLOCK);
    if (slave < 0)
        return true;
    ioctl(slave, FIONREAD, &waiting);
    close(slave);
    return waiting == 0;
}

static double uniform(pty *p)
{
    p->random ^= p->random << 13;
    p->random ^= p->random >> 7;
    p->random ^= p->random << 17;
    return (double)(p->random >> 11) / 9007199254740992.0;
}

static void on_byte(avr_irq_t *irq, uint32_t value, void *param)
{
    pty *p = param;
    uint8_t byte = (uint8_t)value;
    (void)irq;
    for (int bit = 0; p->flip > 0 && bit < 8; bit++)
        if (uniform(p) < p->flip)
            byte ^= (uint8_t)(1 << bit);
    if (p->used == FIFO || p->master < 0) {
        p->dropped++;
        return;
    }
    p->out[(p->head + p->used++) % FIFO] = byte;
}

/* Writes the bytes of the FIFO until the terminal is full. */
static bool flush(pty *p)
{
    while (p->used > 0) {
        size_t run = FIFO - p->head < p->used ? FIFO - p->head : p->used;
        ssize_t written = write(p->master, p->out + p->head, run);
        if (written <= 0)
            return false;
        p->sent += (uint64_t)written;
        p->head = (p->head + (size_t)written) % FIFO;
        p->used -= (size_t)written;
    }
    return true;
}

void pty_serve(pty *p, double device_s)
{
    if (p->master < 0)
        return;
    if (device_s >= p->stalled_until && pty_has_reader(p))
        flush(p);
    if (p->in_used == 0) {
        ssize_t got = pty_has_reader(p) ? read(p->master, p->in, sizeof p->in) : 0;
        p->in_head = 0;
        p->in_used = got > 0 ? (size_t)got : 0;
    }
    for (int i = 0; i < IN_A_TICK && p->in_used > 0; i++, p->in_used--)
        avr_raise_irq(p->input, p->in[p->in_head++]);
}

void pty_attach(pty *p, avr_t *avr)
{
    uint32_t flags = 0;
    avr_ioctl(avr, AVR_IOCTL_UART_GET_FLAGS('0'), &flags);
    flags &= ~(uint32_t)(AVR_UART_FLAG_STDIO | AVR_UART_FLAG_POLL_SLEEP);
    avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &flags);
    p->input = avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_INPUT);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUTPUT), on_byte, p);
}
