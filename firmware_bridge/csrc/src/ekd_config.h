/* All settings of the firmware. Set them by -D, or by make as in `make OPEN_COUNT=4010` (see the Makefile). */
#ifndef EKD_CONFIG_H
#define EKD_CONFIG_H

#ifndef F_CPU
#define F_CPU 16000000UL
#endif

/* ADC input of the skin conductance sensor: 0 for A0. */
#ifndef EKD_ADC_INPUT
#define EKD_ADC_INPUT 0
#endif

/* Series resistance in Ohm of the front end, a voltage divider (PROTOCOL.md, profile 1) as on the Grove GSR sensor. */
#ifndef EKD_SERIES_OHM
#define EKD_SERIES_OHM 10000
#endif
/* 13-bit count with open electrodes, which `ekd-firmware monitor` shows. The potentiometer adjusts it. */
#ifndef EKD_OPEN_COUNT
#define EKD_OPEN_COUNT 4096
#endif
/* An electrode counts as off within this many counts of EKD_OPEN_COUNT; 8 counts are 0.05 uS. */
#ifndef EKD_OPEN_MARGIN
#define EKD_OPEN_MARGIN 8
#endif
#ifndef EKD_VREF_MV
#define EKD_VREF_MV 5000
#endif

/* -DEKD_DEVICE_ID=0x... with 16 hex digits sets the device id. By default it is generated at the first boot and stored
 * in EEPROM. */

#define EKD_BAUD 115200UL
#define EKD_READINGS 8u  /* ADC readings in the sum of a sample */
#define EKD_RATE_HZ 128u /* samples per second */
#define EKD_ADC_BITS 13u /* bits of a sample: 10 of a reading, and 3 for the sum of 8 */
#define EKD_BLOCK 8u     /* samples per DATA frame */
#define EKD_READING_HZ (EKD_READINGS * EKD_RATE_HZ)

#if F_CPU % (EKD_READINGS * EKD_RATE_HZ) != 0
#error "F_CPU must be a multiple of 1024 Hz, such as 16000000, or the sampling rate is not exact"
#endif
#if EKD_OPEN_COUNT < 1 || EKD_OPEN_COUNT > 8191 || EKD_OPEN_MARGIN >= EKD_OPEN_COUNT
#error "EKD_OPEN_COUNT must be a 13-bit count that is larger than EKD_OPEN_MARGIN"
#endif

#endif
