#define _GNU_SOURCE
#include "simulator.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <poll.h>
#include <simavr/sim_elf.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TICK_CYCLES 16000
#define FLUSH_S 0.25

static wave analog;
static pty serial;
static avr_t *avr;
static double speed = 1, seconds = INFINITY, started_s, paced_from_s;
static bool quit;

void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("simulator: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(2);
}

static double wall_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Seconds of true time that the device has run, corrected for its clock error. */
static double device_s(void)
{
    return (double)avr->cycle / HZ / (1 + analog.ppm * 1e-6);
}

static void event(const char *name)
{
    printf("{\"event\": \"%s\", \"path\": \"%s\", \"seconds\": %.3f, \"bytes\": %llu, \"dropped\": %llu}\n", name,
           serial.master < 0 ? "" : serial.path, device_s(), (unsigned long long)serial.sent,
           (unsigned long long)serial.dropped);
    fflush(stdout);
}

static void no_sleep(struct avr_t *self, avr_cycle_count_t cycles)
{
    (void)self;
    (void)cycles;
}

/* Suppresses libsimavr's messages on stdout. */
static void no_log(struct avr_t *self, const int level, const char *format, va_list arguments)
{
    (void)self;
    (void)level;
    (void)format;
    (void)arguments;
}

static void rebase(void)
{
    started_s = wall_s();
    paced_from_s = device_s();
}

static void reset(void)
{
    avr_reset(avr);
    wave_reset(&analog);
    event("reset");
}

static void run_command(char *command)
{
    char *argument = strchr(command, ' ');
    double value = argument ? atof(argument) : 0;
    size_t length = argument ? (size_t)(argument - command) : strlen(command);
#define IS(word) (length == strlen(word) && strncmp(command, word, length) == 0)
    if (IS("reset")) {
        reset();
    } else if (IS("unplug")) {
        pty_close(&serial);
        event("unplug");
    } else if (IS("plug") && serial.master < 0) {
        pty_open(&serial);
        event("port");
    } else if (IS("flip")) {
        serial.flip = value;
    } else if (IS("stall")) {
        serial.stalled_until = device_s() + value;
    } else if (IS("ppm")) {
        analog.base_s = analog.now_s;
        analog.ppm = value;
        rebase();
    } else if (IS("status")) {
        event("status");
    } else if (IS("quit")) {
        quit = true;
    } else {
        fprintf(stderr, "simulator: no such command: %s\n", command);
    }
#undef IS
}

/* Reads commands from stdin for wait_s seconds, or until a command arrives. */
static void read_commands(double wait_s)
{
    static char line[128];
    static size_t length;
    static bool open = true;
    struct pollfd input = {.fd = open ? STDIN_FILENO : -1, .events = POLLIN};
    int wait_ms = wait_s > 0 ? (int)ceil(wait_s * 1e3) : 0;
    while (!quit && poll(&input, 1, wait_ms) > 0) {
        ssize_t got = read(STDIN_FILENO, line + length, sizeof line - 1 - length);
        wait_ms = 0;
        if (got <= 0) {
            open = false;
            input.fd = -1;
            continue;
        }
        length += (size_t)got;
        line[length] = 0;
        for (char *end; (end = strchr(line, '\n')) != NULL;) {
            *end = 0;
            run_command(line);
            length -= (size_t)(end + 1 - line);
            memmove(line, end + 1, length + 1);
        }
        if (length == sizeof line - 1)
            length = 0;
    }
}

static void await_reader(void)
{
    while (!quit && !pty_has_reader(&serial))
        read_commands(0.01);
    for (int i = 0; i < 100 && !quit && !pty_configured(&serial); i++)
        read_commands(0.01);
    usleep(50000); /* pyserial flushes its input right after it has configured the port */
}

/* Runs after each millisecond of device time: moves bytes, reads commands and waits for real time. */
static void tick(void)
{
    pty_serve(&serial, device_s());
    read_commands(0);
    if (speed == 0) {
        while (!quit && serial.used > FIFO / 2) {
            read_commands(0.001);
            pty_serve(&serial, device_s());
        }
        return;
    }
    for (double ahead_s; !quit && (ahead_s = (device_s() - paced_from_s) / speed - (wall_s() - started_s)) > 0.001;) {
        read_commands(ahead_s < 0.01 ? ahead_s : 0.01);
        pty_serve(&serial, device_s());
    }
}

static void run(void)
{
    avr_cycle_count_t next = 0;
    double over_s = INFINITY;
    rebase();
    while (!quit && device_s() < over_s && device_s() < seconds) {
        int state = avr_run(avr);
        if (state == cpu_Crashed || state == cpu_Done)
            fail("the firmware has stopped at 0x%04x", avr->pc);
        if (analog.readings > 0 && !wave_sampling(&analog)) { /* the watchdog has reset the chip */
            wave_reset(&analog);
            event("watchdog");
        }
        if (avr->cycle >= next) {
            next = avr->cycle + TICK_CYCLES;
            tick();
            if (over_s == INFINITY && wave_over(&analog))
                over_s = device_s() + FLUSH_S;
        }
    }
}

static void drain(void)
{
    for (int empty = 0; !quit && empty < 5 && pty_has_reader(&serial);) {
        serial.stalled_until = 0;
        pty_serve(&serial, device_s());
        read_commands(0.01);
        empty = pty_drained(&serial) ? empty + 1 : 0;
    }
}

static double number(const char *text, const char *option)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value))
        fail("--%s %s is not a number", option, text);
    return value;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"elf", 1, 0, 'e'},  {"waveform", 1, 0, 'w'}, {"rate", 1, 0, 'r'}, {"speed", 1, 0, 's'}, {"ppm", 1, 0, 'p'},
        {"link", 1, 0, 'l'}, {"seconds", 1, 0, 'n'},  {"log", 1, 0, 'o'},  {"seed", 1, 0, 'd'},  {0, 0, 0, 0}};
    const char *elf = NULL, *path = NULL;
    elf_firmware_t firmware;
    int option, at = 0;
    serial.random = 88172645463325252u;
    serial.master = -1;
    analog.rate_hz = 128;
    while ((option = getopt_long(argc, argv, "", options, &at)) != -1) {
        const char *name = option == '?' ? "" : options[at].name;
        switch (option) {
        case 'e': elf = optarg; break;
        case 'w': path = optarg; break;
        case 'l': serial.link = optarg; break;
        case 'r': analog.rate_hz = number(optarg, name); break;
        case 's': speed = number(optarg, name); break;
        case 'p': analog.ppm = number(optarg, name); break;
        case 'n': seconds = number(optarg, name); break;
        case 'd': serial.random += (uint64_t)number(optarg, name); break;
        case 'o':
            if ((analog.log = fopen(optarg, "w")) == NULL)
                fail("cannot write %s: %s", optarg, strerror(errno));
            break;
        default: fail("use --elf FILE --waveform FILE [--rate HZ --speed X --ppm N --link PATH --seconds S --log FILE]");
        }
    }
    if (elf == NULL || path == NULL || analog.rate_hz <= 0 || speed < 0 || fabs(analog.ppm) >= 1e6)
        fail("--elf FILE, --waveform FILE, a positive rate and a speed of zero or more are required");
    wave_load(&analog, path);
    memset(&firmware, 0, sizeof firmware);
    avr_global_logger_set(no_log);
    if (elf_read_firmware(elf, &firmware) != 0)
        fail("%s is not a firmware: build one with make", elf);
    strcpy(firmware.mmcu, "atmega328p");
    firmware.frequency = (uint32_t)HZ;
    avr = avr_make_mcu_by_name(firmware.mmcu);
    if (avr == NULL)
        fail("this libsimavr does not support %s: install a newer one", firmware.mmcu);
    avr_init(avr);
    avr_load_firmware(avr, &firmware);
    avr->sleep = no_sleep;
    pty_attach(&serial, avr);
    wave_attach(&analog, avr);
    pty_open(&serial);
    event("port");
    await_reader();
    run();
    drain();
    event("end");
    pty_close(&serial);
    if (analog.log)
        fclose(analog.log);
    return 0;
}
