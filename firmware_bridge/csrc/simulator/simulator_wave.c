#include <math.h>
#include <simavr/avr_adc.h>
#include <stdlib.h>
#include <string.h>

#include "simulator.h"

#define VREF_MV 5000
#define TOP 1023
#define TIMSK1_AT 0x6F
#define OCIE1A 2

void wave_load(wave *w, const char *path)
{
    FILE *file = fopen(path, "r");
    char line[64];
    size_t room = 0;
    if (file == NULL)
        fail("cannot read the waveform %s: check its path", path);
    while (fgets(line, sizeof line, file)) {
        char *end;
        float value = strtof(line, &end);
        if (end == line || !isfinite(value))
            fail("%s has no number on line %zu: write one count per line", path, w->size + 1);
        if (w->size == room) {
            room = room ? 2 * room : 4096;
            w->counts = realloc(w->counts, room * sizeof *w->counts);
            if (w->counts == NULL)
                fail("not enough memory for %s", path);
        }
        w->counts[w->size++] = value;
    }
    fclose(file);
    if (w->size == 0)
        fail("%s is empty: write one count per line", path);
}

bool wave_over(const wave *w)
{
    return w->now_s >= (double)w->size / w->rate_hz;
}

bool wave_sampling(const wave *w)
{
    return w->avr->data[TIMSK1_AT] & OCIE1A;
}

void wave_reset(wave *w)
{
    w->base_s = w->now_s;
    w->readings = 0;
    w->sum = 0;
    w->residue = 0;
    if (w->log)
        fputs("reset\n", w->log);
}

/* Returns the ten-bit reading. The rounding error is carried to the next reading, which has the same effect on the mean
 * as the noise of a real front end. The sum of eight readings is then within one 13-bit count of the waveform. */
static int reading_now(wave *w)
{
    uint64_t nth;
    double wanted;
    size_t at;
    int reading;
    if (w->readings == 0)
        w->first = w->avr->cycle;
    nth = (uint64_t)llround((double)(w->avr->cycle - w->first) * READING_HZ / HZ);
    w->now_s = w->base_s + (double)nth / READING_HZ / (1 + w->ppm * 1e-6);
    at = (size_t)(w->now_s * w->rate_hz + 1e-6);
    wanted = w->counts[at < w->size ? at : w->size - 1] / READINGS + w->residue;
    reading = (int)floor(wanted + 0.5);
    reading = reading < 0 ? 0 : reading > TOP ? TOP : reading;
    w->residue = wanted - reading;
    w->residue = w->residue < -0.5 ? -0.5 : w->residue > 0.5 ? 0.5 : w->residue;
    return reading;
}

static void on_conversion(avr_irq_t *irq, uint32_t value, void *param)
{
    wave *w = param;
    int reading;
    (void)irq;
    (void)value;
    if (!wave_sampling(w)) { /* before sampling, the firmware reads noise for its id */
        avr_raise_irq(w->input, (uint32_t)(w->avr->cycle % VREF_MV));
        return;
    }
    reading = reading_now(w);
    /* libsimavr converts millivolts to millivolts * 1023 / Vref, rounded down. This is the lowest voltage that gives the
     * reading. */
    avr_raise_irq(w->input, (uint32_t)((reading * VREF_MV + TOP - 1) / TOP));
    w->sum += reading;
    if (++w->readings % READINGS == 0) {
        if (w->log)
            fprintf(w->log, "%d\n", w->sum);
        w->sum = 0;
    }
}

void wave_attach(wave *w, avr_t *avr)
{
    avr_irq_t *adc = avr_io_getirq(avr, AVR_IOCTL_ADC_GETIRQ, 0);
    w->avr = avr;
    avr->vcc = avr->avcc = avr->aref = VREF_MV;
    w->input = adc + ADC_IRQ_ADC0;
    avr_irq_register_notify(adc + ADC_IRQ_OUT_TRIGGER, on_conversion, w);
}
