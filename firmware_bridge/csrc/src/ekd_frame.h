/* Frame protocol version 1 in C99: no heap, no library but memcpy's. PROTOCOL.md has the tables.
 *
 *     wire = COBS(type u8 | body | crc u16) 0x00        little-endian; CRC-16/CCITT-FALSE over type and body
 *
 * The same source runs on an 8-bit microcontroller and, as a shared object, under the tests of its Python twin.
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

/* Longest frame on the wire, without its delimiter; what it holds before COBS; samples that fit into DATA. */
#define EKD_MAX_WIRE 254u
#define EKD_MAX_FRAME (EKD_MAX_WIRE - 1u)
#define EKD_MAX_SAMPLES ((EKD_MAX_FRAME - 8u - 2u) / 2u)

/* Bytes on the wire, with the delimiter: type, body and crc, one byte of COBS overhead, 0x00. */
#define EKD_DATA_WIRE(n) (8u + 2u * (n) + 4u)
#define EKD_HELLO_WIRE 38u
#define EKD_STATUS_WIRE 14u
#define EKD_REQUEST_WIRE 6u

/* The longest frame that a decoder takes: a device hears short commands alone. */
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
    uint32_t saturated; /* samples of which a reading was at an end of the converter's range */
    bool lead_off;
} ekd_status;

typedef struct {
    uint16_t seq;
    uint32_t first_index;
    uint8_t n;
    const uint8_t *counts; /* n little-endian u16, see ekd_count */
} ekd_data;

uint16_t ekd_crc16(const uint8_t *bytes, size_t n);

/* Each writes one frame with its delimiter and returns its length; 0 where a field is out of range.
 * `wire` holds at least the frame's EKD_..._WIRE bytes. */
size_t ekd_encode_data(uint8_t *wire, uint16_t seq, uint32_t first_index, const uint16_t *counts, uint8_t n);
size_t ekd_encode_hello(uint8_t *wire, const ekd_hello *hello);
size_t ekd_encode_status(uint8_t *wire, const ekd_status *status);
size_t ekd_encode_request(uint8_t *wire, uint8_t version);
size_t ekd_encode_raw(uint8_t *wire, const uint8_t *payload, size_t n); /* type and body, 1 to 251 bytes */

/* Each reads a payload (type and body) of n bytes; false where it is no such frame. Later fields are ignored. */
bool ekd_parse_data(const uint8_t *payload, size_t n, ekd_data *data);
bool ekd_parse_hello(const uint8_t *payload, size_t n, ekd_hello *hello); /* this version's */
bool ekd_parse_status(const uint8_t *payload, size_t n, ekd_status *status);
bool ekd_parse_request(const uint8_t *payload, size_t n, uint8_t *version);
uint8_t ekd_hello_version(const uint8_t *payload, size_t n); /* of any version's HELLO; 0 where it is none */
uint16_t ekd_count(const ekd_data *data, uint8_t i);

/* Finds frames in a stream of bytes. Zero-initialise it. */
typedef struct {
    uint32_t frames;          /* sound ones */
    uint32_t rejected;        /* overlong, or with bad COBS or CRC */
    uint32_t discarded_bytes; /* theirs, and those before the first delimiter */
    uint16_t wire_bytes;      /* of the frame under way, as received */
    uint16_t length;          /* of the frame under way, decoded */
    uint8_t block;            /* bytes left in the COBS block */
    bool zero_due;            /* the block under way stands for a zero after it */
    bool bad, synced;
    uint8_t buffer[EKD_DECODER_BYTES];
} ekd_decoder;

/* Takes the next byte. Where it completes a sound frame, returns the length of type and body, which lie in
 * decoder->buffer until the next call; else 0. */
size_t ekd_decoder_push(ekd_decoder *decoder, uint8_t byte);

#ifdef __cplusplus
}
#endif
#endif
