/* Which device this is, and which of its boots. */
#ifndef EKD_IDENTITY_H
#define EKD_IDENTITY_H

#include "ekd_frame.h"

/* Fills in device_id and boot_nonce; call it once, before the sampler is started.
 *
 * The id is made at the first boot from the chip's signature row, the noise of all ADC inputs and the temperature
 * sensor, and kept in EEPROM; it distinguishes devices and is not secret. The nonce comes from a counter in EEPROM, of which
 * each boot rewrites one byte, seldom more: its 100000 cycles are so many boots. */
void ekd_identify(ekd_hello *hello);

#endif
