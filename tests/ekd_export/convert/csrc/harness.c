/* The generated source and ekd_signal.h, callable from Python by ctypes. */
#include "student.h"

#include "ekd_signal.h"

#ifdef __cplusplus
extern "C" {
#endif

static ekd_signal chain;

void harness_reset(void) { ekd_signal_reset(&chain); }

void harness_restart(void) { ekd_signal_restart(&chain); }

/* n samples to at most `most` windows of EKD_WINDOW_SAMPLES floats, and the same quantized; returns how many came. */
long harness_push(const double *samples, long n, float *windows, signed char *quantized, long most)
{
    long i, count = 0;
    for (i = 0; i < n; i++) {
        if (ekd_signal_push(&chain, samples[i]) && count < most) {
            float *window = windows + count * EKD_WINDOW_SAMPLES;
            ekd_signal_window(&chain, window);
            ekd_quantize(window, quantized + count * EKD_WINDOW_SAMPLES);
            count++;
        }
    }
    return count;
}

void harness_quantize(const float *window, signed char *input) { ekd_quantize(window, input); }

float harness_logit(signed char output) { return ekd_logit(output); }

const unsigned char *harness_model(void) { return ekd_model; }
const char *harness_label(int target, int label) { return ekd_labels[target][label]; }
const char *harness_target(int target) { return ekd_targets[target]; }
const char *harness_sha256(void) { return EKD_MODEL_SHA256; }
const char *harness_unit(void) { return EKD_UNIT; }
double harness_rate_hz(void) { return (double)EKD_RATE_NUMERATOR / EKD_RATE_DENOMINATOR; }
double harness_time_constant_s(void) { return EKD_TIME_CONSTANT_S; }
long harness_state_bytes(void) { return (long)sizeof chain; }

#ifdef __cplusplus
}
#endif
