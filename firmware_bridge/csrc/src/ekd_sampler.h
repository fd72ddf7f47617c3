/* Samples at exactly 128 Hz by a hardware timer and interrupts, in blocks of EKD_BLOCK samples. */
#ifndef EKD_SAMPLER_H
#define EKD_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

#include "ekd_config.h"

typedef struct {
    uint32_t first_index; /* number of samples before this block, including lost ones */
    uint16_t counts[EKD_BLOCK];
} ekd_block;

void ekd_sampler_start(void);
/* The oldest complete block, or NULL. It is valid until it is released. */
const ekd_block *ekd_sampler_block(void);
void ekd_sampler_release(void);
/* Samples lost because blocks were not released in time. */
uint32_t ekd_sampler_overruns(void);
/* Samples with a reading at a limit of the converter's range. */
uint32_t ekd_sampler_saturated(void);
/* One ten-bit reading of an input; call it only before the sampler is started. */
uint16_t ekd_sampler_single(uint8_t input);

#endif
