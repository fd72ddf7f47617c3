/* 128 samples a second, exactly, by hardware timer and interrupts; in blocks of EKD_BLOCK. */
#ifndef EKD_SAMPLER_H
#define EKD_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

#include "ekd_config.h"

typedef struct {
    uint32_t first_index; /* samples taken before these, lost ones too */
    uint16_t counts[EKD_BLOCK];
} ekd_block;

void ekd_sampler_start(void);
/* The oldest block that is complete, or NULL; it stays valid until it is released. */
const ekd_block *ekd_sampler_block(void);
void ekd_sampler_release(void);
/* Samples lost because blocks were not released in time. */
uint32_t ekd_sampler_overruns(void);
/* Samples of which a reading was at an end of the converter's range. */
uint32_t ekd_sampler_saturated(void);
/* One reading of ten bits of that input, before the sampler is started. */
uint16_t ekd_sampler_single(uint8_t input);

#endif
