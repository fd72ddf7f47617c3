/* Codec of frame protocol version 1 in C99, without heap and without libraries except memcpy (PROTOCOL.md).
 *
 *     wire = COBS(type u8 | body | crc u16) 0x00        little-endian; CRC-16/CCITT-FALSE over type and body
 *
 * The same source runs on an 8-bit microcontroller and, as a shared object, in the tests that compare it with the Python
 * codec.
 */
#ifndef EKD_FRAME_H
#define EKD_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EKD_VERSION 1u
#define EKD_DATA 0x01u
#define EKD_HELLO 0x02u
#define EKD_STATUS 0x03u
#define EKD_REQUEST_HELLO 0x10u

/* Maximum bytes of a frame on the wire without its delimiter, maximum bytes before COBS, maximum samples of DATA. */
#define EKD_MAX_WIRE 254u
#define EKD_MAX_FRAME (EKD_MAX_WIRE - 1u)
#define EKD_MAX_SAMPLES ((EKD_MAX_FRAME - 8u - 2u) / 2u)

/* Bytes on the wire, with the delimiter: type, body and crc, one byte of COBS overhead, 0x00. */
#define EKD_DATA_WIRE(n) (8u + 2u * (n) + 4u)
#define EKD_HELLO_WIRE 38u
#define EKD_STATUS_WIRE 14u
#define EKD_REQUEST_WIRE 6u

/* Maximum bytes of a frame that a decoder accepts; a device receives only short commands. */
#if defined(__AVR__)
#define EKD_DECODER_BYTES 16u
#else
#define EKD_DECODER_BYTES EKD_MAX_FRAME
#endif

typedef struct {
    uint8_t device_id[8];
    uint32_t boot_nonce;
    uint32_t rate_numerator, rate_denominator; /* Hz */
    uint8_t adc_bits;                          /* 1 to 16 */
    uint16_t vref_mv;
    uint8_t profile;
    float calibration[2];
} ekd_hello;

typedef struct {
    uint32_t overruns;  /* samples lost inside the device since boot */
    uint32_t saturated; /* samples with a reading at a limit of the converter's range */
    bool lead_off;
} ekd_status;

typedef struct {
    uint16_t seq;
    uint32_t first_index;
    uint8_t n;
    const uint8_t *counts; /* n little-endian u16, see ekd_count */
} ekd_data;

uint16_t ekd_crc16(const uint8_t *bytes, size_t n);

/* Each function writes one frame with its delimiter and returns its length, or 0 if a field is out of range.
 * `wire` has room for the frame's EKD_..._WIRE bytes. */
size_t ekd_encode_data(uint8_t *wire, uint16_t seq, uint32_t first_index, const uint16_t *counts, uint8_t n);
size_t ekd_encode_hello(uint8_t *wire, const ekd_hello *hello);
size_t ekd_encode_status(uint8_t *wire, const ekd_status *status);
size_t ekd_encode_request(uint8_t *wire, uint8_t version);
size_t ekd_encode_raw(uint8_t *wire, const uint8_t *payload, size_t n); /* type and body, 1 to 251 bytes */

/* Each function parses a payload (type and body) of n bytes and returns false if it is another frame. Additional fields
 * are ignored. */
bool ekd_parse_data(const uint8_t *payload, size_t n, ekd_data *data);
bool ekd_parse_hello(const uint8_t *payload, size_t n, ekd_hello *hello); /* only of version EKD_VERSION */
bool ekd_parse_status(const uint8_t *payload, size_t n, ekd_status *status);
bool ekd_parse_request(const uint8_t *payload, size_t n, uint8_t *version);
uint8_t ekd_hello_version(const uint8_t *payload, size_t n); /* of a HELLO of any version; 0 for other frames */
uint16_t ekd_count(const ekd_data *data, uint8_t i);

/* State of a decoder, which finds frames in a stream of bytes. Initialise it with zeros. */
typedef struct {
    uint32_t frames;          /* valid frames */
    uint32_t rejected;        /* frames that are too long or have wrong COBS or CRC */
    uint32_t discarded_bytes; /* bytes of rejected frames and before the first delimiter */
    uint16_t wire_bytes;      /* received bytes of the current frame */
    uint16_t length;          /* decoded bytes of the current frame */
    uint8_t block;            /* bytes left in the COBS block */
    bool zero_due;            /* the current block is followed by a zero */
    bool bad, synced;
    uint8_t buffer[EKD_DECODER_BYTES];
} ekd_decoder;

/* Processes the next byte. If it completes a valid frame, returns the length of type and body, which are in
 * decoder->buffer until the next call. Otherwise returns 0. */
size_t ekd_decoder_push(ekd_decoder *decoder, uint8_t byte);

#ifdef __cplusplus
}
#endif
#endif
