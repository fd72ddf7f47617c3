/* The device's id and the number of its boot. */
#ifndef EKD_IDENTITY_H
#define EKD_IDENTITY_H

#include "ekd_frame.h"

/* Sets device_id and boot_nonce. Call it once, before the sampler is started.
 *
 * The id is generated at the first boot from the chip's signature row and the noise of the ADC inputs and the temperature
 * sensor, and stored in EEPROM. It distinguishes devices and is not secret. The nonce is derived from a boot counter in
 * EEPROM. Each boot usually rewrites one byte of the counter, so the EEPROM's 100000 cycles allow as many boots. */
void ekd_identify(ekd_hello *hello);

#endif
