#if defined(__AVR__)
#include "ekd_sampler.h"

#include <avr/interrupt.h>
#include <avr/io.h>
#include <stddef.h>
#include <util/atomic.h>

#define BLOCKS 4u
#define ADC_TOP 1023u
#define REFERENCE_VCC (1u << REFS0)
/* The ADC clock is 125 kHz at 16 MHz. A conversion takes 104 us, and one starts every 977 us. */
#define ADC_ON ((1u << ADEN) | (1u << ADPS2) | (1u << ADPS1) | (1u << ADPS0))

static ekd_block blocks[BLOCKS];
static volatile uint8_t complete;
static uint8_t filling, oldest;
static uint32_t overruns, saturated;

/* The interrupt starts the conversion, with a jitter of a few cycles in 977 us. */
ISR(TIMER1_COMPA_vect)
{
    ADCSRA = (uint8_t)(ADCSRA | (1u << ADSC));
}

ISR(ADC_vect)
{
    static uint16_t sum;
    static uint8_t readings, samples, at_end;
    static uint32_t taken;
    uint16_t reading = ADC;

    sum = (uint16_t)(sum + reading);
    at_end = (uint8_t)(at_end | (reading == 0 || reading == ADC_TOP ? 1u : 0u));
    if (++readings < EKD_READINGS)
        return;
    blocks[filling].counts[samples] = sum;
    saturated += at_end;
    taken++;
    sum = 0;
    readings = at_end = 0;
    if (++samples < EKD_BLOCK)
        return;
    samples = 0;
    if (complete < BLOCKS - 1u) {
        complete++;
        filling = (uint8_t)((filling + 1u) % BLOCKS);
    } else {
        overruns += EKD_BLOCK;
    }
    blocks[filling].first_index = taken;
}

void ekd_sampler_start(void)
{
    ADMUX = (uint8_t)(REFERENCE_VCC | EKD_ADC_INPUT);
    DIDR0 = (uint8_t)(1u << EKD_ADC_INPUT);
    ADCSRA = (uint8_t)(ADC_ON | (1u << ADIE));
    OCR1A = (uint16_t)(F_CPU / EKD_READING_HZ - 1u);
    TCNT1 = 0;
    TCCR1A = 0;
    TCCR1B = (uint8_t)((1u << WGM12) | (1u << CS10));
    TIMSK1 = (uint8_t)(1u << OCIE1A);
}

const ekd_block *ekd_sampler_block(void)
{
    return complete > 0 ? &blocks[oldest] : NULL;
}

void ekd_sampler_release(void)
{
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        oldest = (uint8_t)((oldest + 1u) % BLOCKS);
        complete--;
    }
}

uint32_t ekd_sampler_overruns(void)
{
    uint32_t value;
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        value = overruns;
    }
    return value;
}

uint32_t ekd_sampler_saturated(void)
{
    uint32_t value;
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        value = saturated;
    }
    return value;
}

uint16_t ekd_sampler_single(uint8_t input)
{
    ADMUX = (uint8_t)(REFERENCE_VCC | input);
    ADCSRA = (uint8_t)(ADC_ON | (1u << ADSC));
    while (ADCSRA & (1u << ADSC))
        ;
    return ADC;
}
#else
typedef int ekd_sampler_is_for_avr;
#endif
