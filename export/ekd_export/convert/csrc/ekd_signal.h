/* From skin conductance to the model's input on a microcontroller: filter, normalize, window, quantize.
 *
 * Include the generated header of the model first. Samples must come at EKD_RATE_NUMERATOR / EKD_RATE_DENOMINATOR Hz;
 * samples of a sensor with another rate must be resampled first. C99 or C++11, no heap, no global state; compile without
 * contraction of a * b + c (-ffp-contract=off) for the same bits as ekd's Preprocessor.
 *
 *     static ekd_signal chain;               kept between samples; about 4 * EKD_WINDOW_SAMPLES bytes
 *     ekd_signal_reset(&chain);              at the start, and after a gap of EKD_TIME_CONSTANT_S or more
 *     ekd_signal_restart(&chain);            after a shorter gap: the running mean survives it
 *                                            (of at most EKD_BRIDGE_SAMPLES samples: instead push the m lost
 *                                            samples x0 + (x1 - x0) * k / (m + 1) between the last one and the next)
 *     if (ekd_signal_push(&chain, us)) {     a sample in EKD_UNIT; true where it completes a window
 *         ekd_signal_window(&chain, window); float[EKD_WINDOW_SAMPLES]
 *         ekd_quantize(window, input);       signed char[EKD_WINDOW_SAMPLES], the model's input
 *     }
 *     ekd_logit(output[i])                   of the model's output, target after target
 */
#ifndef EKD_SIGNAL_H
#define EKD_SIGNAL_H

#ifndef EKD_WINDOW_SAMPLES
#error "include the generated header of the model before ekd_signal.h"
#endif

#include <math.h>

typedef struct {
    double filter[EKD_SECTIONS + 1][2]; /* state of each section, transposed direct form II; one is spare */
    double mean, weight;                /* of the running mean, see EKD_DECAY */
    double variance, variance_weight;   /* of the running variance */
    float ring[EKD_WINDOW_SAMPLES];
    long next;  /* where the next sample goes in the ring */
    long until; /* samples until the next window is complete */
    int begun;  /* whether a sample has come since the start or the last gap */
} ekd_signal;

/* After a gap: restart filter, window and settle time. */
static inline void ekd_signal_restart(ekd_signal *s)
{
    s->begun = 0;
    s->next = 0;
    s->until = EKD_SETTLE_SAMPLES + EKD_WINDOW_SAMPLES;
}

/* Forget everything. */
static inline void ekd_signal_reset(ekd_signal *s)
{
    s->mean = s->weight = s->variance = s->variance_weight = 0.0;
    ekd_signal_restart(s);
}

/* Update the bias-corrected exponential mean with one sample. */
static inline double ekd_running_mean(double *state, double *weight, double y)
{
    const double sum = *state + (1.0 - EKD_DECAY) * y;
    const double norm = *weight + (1.0 - EKD_DECAY);
    *state = EKD_DECAY * sum;
    *weight = EKD_DECAY * norm;
    return sum / norm;
}

static inline double ekd_filter(ekd_signal *s, double x)
{
#if EKD_SECTIONS > 0
    int i;
    if (!s->begun) {
        for (i = 0; i < EKD_SECTIONS; i++) { /* steady state for a constant input of the first sample */
            s->filter[i][0] = ekd_filter_start[i][0] * x;
            s->filter[i][1] = ekd_filter_start[i][1] * x;
        }
    }
    for (i = 0; i < EKD_SECTIONS; i++) {
        const double *c = ekd_filter_sos[i]; /* b0 b1 b2 1 a1 a2 */
        double *z = s->filter[i];
        const double y = z[0] + c[0] * x;
        z[0] = z[1] + x * c[1] - y * c[4];
        z[1] = x * c[2] - y * c[5];
        x = y;
    }
#endif
    s->begun = 1;
    return x;
}

/* The algebraic bound: within EKD_LIMIT for every input. */
static inline double ekd_bounded(double y)
{
#if EKD_BOUNDED
    const double relative = y / EKD_LIMIT;
    return y / sqrt(1.0 + relative * relative);
#else
    return y;
#endif
}

static inline double ekd_normalize(ekd_signal *s, double x)
{
#if EKD_NORMALIZATION == EKD_NONE
    (void)s;
    return ekd_bounded(EKD_GAIN * x);
#elif EKD_NORMALIZATION == EKD_WINDOW_MEAN
    (void)s; /* the window's mean is subtracted when the window is complete */
    return x;
#else
#if EKD_NORMALIZATION == EKD_LOG_EMA
    x = log(x > EKD_LOG_FLOOR ? x : EKD_LOG_FLOOR);
#endif
    x -= ekd_running_mean(&s->mean, &s->weight, x);
#if EKD_NORMALIZATION == EKD_EMA_ZSCORE
    x /= sqrt(ekd_running_mean(&s->variance, &s->variance_weight, x * x) + EKD_VARIANCE_FLOOR);
#endif
    return ekd_bounded(EKD_GAIN * x);
#endif
}

/* Add one sample; true where it completes a window. NaN, or a value beyond 1e30, is a gap. */
static inline int ekd_signal_push(ekd_signal *s, double sample)
{
    if (!(fabs(sample) <= 1e30)) {
        ekd_signal_restart(s);
        return 0;
    }
    s->ring[s->next] = (float)ekd_normalize(s, ekd_filter(s, sample));
    s->next = s->next + 1 == EKD_WINDOW_SAMPLES ? 0 : s->next + 1;
    if (--s->until > 0) {
        return 0;
    }
    s->until = EKD_HOP_SAMPLES;
    return 1;
}

/* The last EKD_WINDOW_SAMPLES samples, oldest first. */
static inline void ekd_signal_window(const ekd_signal *s, float *window)
{
    long i;
    for (i = 0; i < EKD_WINDOW_SAMPLES; i++) {
        const long from = s->next + i;
        window[i] = s->ring[from < EKD_WINDOW_SAMPLES ? from : from - EKD_WINDOW_SAMPLES];
    }
#if EKD_NORMALIZATION == EKD_WINDOW_MEAN
    {
        double mean = 0.0;
        for (i = 0; i < EKD_WINDOW_SAMPLES; i++) {
            mean += (double)window[i];
        }
        mean /= EKD_WINDOW_SAMPLES;
        for (i = 0; i < EKD_WINDOW_SAMPLES; i++) {
            window[i] = (float)ekd_bounded(EKD_GAIN * ((double)window[i] - mean));
        }
    }
#endif
}

static inline void ekd_quantize(const float *window, signed char *input)
{
    long i;
    for (i = 0; i < EKD_WINDOW_SAMPLES; i++) {
        const float steps = rintf(window[i] / EKD_INPUT_SCALE) + (float)EKD_INPUT_ZERO_POINT;
        input[i] = (signed char)(steps < -128.0f ? -128.0f : steps > 127.0f ? 127.0f : steps);
    }
}

static inline float ekd_logit(signed char output)
{
    return ((float)output - (float)EKD_OUTPUT_ZERO_POINT) * EKD_OUTPUT_SCALE;
}

#endif
