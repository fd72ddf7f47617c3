/* The simulator runs the firmware's ELF file on libsimavr with a waveform at the ADC and the UART on a pseudo-terminal.
 *
 * It is a development tool. libsimavr is under GPL-3, so a built simulator is too. It is not part of ekd's packages.
 */
#ifndef SIMULATOR_H
#define SIMULATOR_H

#include <simavr/sim_avr.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define HZ 16000000.0
#define READINGS 8
#define READING_HZ 1024.0

/* Prints one sentence on stderr and exits with status 2. */
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* ---- simulator_wave.c: the input of the ADC ---- */
typedef struct {
    float *counts; /* in counts of a 13-bit sample */
    size_t size;
    double rate_hz;
    double ppm;       /* clock error of the AVR; positive means fast */
    double base_s;    /* time of the waveform at the first reading since the reset */
    double now_s;     /* time of the waveform at the latest reading */
    uint64_t first;   /* cycle of the first reading since the reset */
    uint64_t readings;
    int sum;
    double residue; /* rounding error that is carried to the next reading */
    FILE *log;
    avr_irq_t *input;
    avr_t *avr;
} wave;

void wave_load(wave *w, const char *path);
void wave_attach(wave *w, avr_t *avr);
void wave_reset(wave *w);
bool wave_over(const wave *w);
bool wave_sampling(const wave *w); /* whether the firmware has started its timer */

/* ---- simulator_pty.c: the other end of the UART ---- */
#define FIFO 65536
typedef struct {
    int master;
    char path[64];
    const char *link;
    uint8_t out[FIFO];
    size_t head, used;
    uint8_t in[256];
    size_t in_head, in_used;
    double flip;          /* probability that a bit flips */
    double stalled_until; /* seconds of device time */
    uint64_t random;
    uint64_t sent, dropped;
    bool blocking; /* wait for a slow reader instead of losing bytes */
    avr_irq_t *input;
} pty;

void pty_open(pty *p);
void pty_close(pty *p);
void pty_attach(pty *p, avr_t *avr);
bool pty_has_reader(const pty *p);
bool pty_configured(const pty *p);
bool pty_drained(const pty *p);
void pty_serve(pty *p, double device_s);

#endif
