/* Everything that may be set: by -D, or `make OPEN_COUNT=4010`, see the Makefile. */
#ifndef EKD_CONFIG_H
#define EKD_CONFIG_H

#ifndef F_CPU
#define F_CPU 16000000UL
#endif

/* ADC input of the skin conductance sensor: 0 for A0. */
#ifndef EKD_ADC_INPUT
#define EKD_ADC_INPUT 0
#endif

/* The front end: a voltage divider (PROTOCOL.md, profile 1), as on the Grove GSR sensor. */
#ifndef EKD_SERIES_OHM
#define EKD_SERIES_OHM 10000
#endif
/* Count of 13 bits with open electrodes, as `ekd-firmware monitor` shows it; the potentiometer sets it. */
#ifndef EKD_OPEN_COUNT
#define EKD_OPEN_COUNT 4096
#endif
/* So close to EKD_OPEN_COUNT an electrode is off: 8 counts are 0.05 uS. */
#ifndef EKD_OPEN_MARGIN
#define EKD_OPEN_MARGIN 8
#endif
#ifndef EKD_VREF_MV
#define EKD_VREF_MV 5000
#endif

/* 16 hex digits fix the device id (-DEKD_DEVICE_ID=0x...); by default it is made at first boot and kept in EEPROM. */

#define EKD_BAUD 115200UL
#define EKD_READINGS 8u  /* ADC readings summed to a sample */
#define EKD_RATE_HZ 128u /* samples a second */
#define EKD_ADC_BITS 13u /* of a sample: 10, and 3 for the sum of 8 */
#define EKD_BLOCK 8u     /* samples a DATA frame */
#define EKD_READING_HZ (EKD_READINGS * EKD_RATE_HZ)

#if F_CPU % (EKD_READINGS * EKD_RATE_HZ) != 0
#error "F_CPU must be a multiple of 1024 Hz, such as 16000000, or the sampling rate is not exact"
#endif
#if EKD_OPEN_COUNT < 1 || EKD_OPEN_COUNT > 8191 || EKD_OPEN_MARGIN >= EKD_OPEN_COUNT
#error "EKD_OPEN_COUNT is a count of 13 bits, larger than EKD_OPEN_MARGIN"
#endif

#endif
