#include "ekd_frame.h"

#include <string.h>

/* ---- encoding ---- */

/* Incremental COBS and CRC; `code` is the position of the current block's length. */
typedef struct {
    uint8_t *wire;
    size_t code, end;
    uint16_t crc;
} writer;

static uint16_t crc_step(uint16_t crc, uint8_t byte)
{
    /* Greg Cook's shift form of polynomial 0x1021, which processes a byte without a table. */
    uint8_t x = (uint8_t)((crc >> 8) ^ byte);
    x = (uint8_t)(x ^ (x >> 4));
    return (uint16_t)((uint16_t)(crc << 8) ^ (uint16_t)((uint16_t)x << 12) ^ (uint16_t)((uint16_t)x << 5) ^ x);
}

uint16_t ekd_crc16(const uint8_t *bytes, size_t n)
{
    uint16_t crc = 0xFFFFu;
    for (size_t i = 0; i < n; i++)
        crc = crc_step(crc, bytes[i]);
    return crc;
}

static void start(writer *w, uint8_t *wire)
{
    w->wire = wire;
    w->code = 0;
    w->end = 1;
    w->crc = 0xFFFFu;
}

/* No frame is so long that a full block of 254 bytes is followed by another block. */
static void stuff(writer *w, uint8_t byte)
{
    if (byte == 0) {
        w->wire[w->code] = (uint8_t)(w->end - w->code);
        w->code = w->end;
    } else {
        w->wire[w->end] = byte;
    }
    w->end++;
}

static void put8(writer *w, uint8_t byte)
{
    w->crc = crc_step(w->crc, byte);
    stuff(w, byte);
}

static void put16(writer *w, uint16_t value)
{
    put8(w, (uint8_t)value);
    put8(w, (uint8_t)(value >> 8));
}

static void put32(writer *w, uint32_t value)
{
    put16(w, (uint16_t)value);
    put16(w, (uint16_t)(value >> 16));
}

static size_t finish(writer *w)
{
    uint16_t crc = w->crc;
    stuff(w, (uint8_t)crc);
    stuff(w, (uint8_t)(crc >> 8));
    w->wire[w->code] = (uint8_t)(w->end - w->code);
    w->wire[w->end] = 0;
    return w->end + 1;
}

size_t ekd_encode_data(uint8_t *wire, uint16_t seq, uint32_t first_index, const uint16_t *counts, uint8_t n)
{
    writer w;
    if (n == 0 || n > EKD_MAX_SAMPLES)
        return 0;
    start(&w, wire);
    put8(&w, EKD_DATA);
    put16(&w, seq);
    put32(&w, first_index);
    put8(&w, n);
    for (uint8_t i = 0; i < n; i++)
        put16(&w, counts[i]);
    return finish(&w);
}

size_t ekd_encode_hello(uint8_t *wire, const ekd_hello *hello)
{
    writer w;
    start(&w, wire);
    put8(&w, EKD_HELLO);
    put8(&w, EKD_VERSION);
    for (uint8_t i = 0; i < 8; i++)
        put8(&w, hello->device_id[i]);
    put32(&w, hello->boot_nonce);
    put32(&w, hello->rate_numerator);
    put32(&w, hello->rate_denominator);
    put8(&w, hello->adc_bits);
    put16(&w, hello->vref_mv);
    put8(&w, hello->profile);
    for (uint8_t i = 0; i < 2; i++) {
        uint32_t bits;
        memcpy(&bits, &hello->calibration[i], sizeof bits);
        put32(&w, bits);
    }
    return finish(&w);
}

size_t ekd_encode_status(uint8_t *wire, const ekd_status *status)
{
    writer w;
    start(&w, wire);
    put8(&w, EKD_STATUS);
    put32(&w, status->overruns);
    put32(&w, status->saturated);
    put8(&w, status->lead_off ? 1u : 0u);
    return finish(&w);
}

size_t ekd_encode_request(uint8_t *wire, uint8_t version)
{
    writer w;
    start(&w, wire);
    put8(&w, EKD_REQUEST_HELLO);
    put8(&w, version);
    return finish(&w);
}

size_t ekd_encode_raw(uint8_t *wire, const uint8_t *payload, size_t n)
{
    writer w;
    if (n == 0 || n > EKD_MAX_FRAME - 2u)
        return 0;
    start(&w, wire);
    for (size_t i = 0; i < n; i++)
        put8(&w, payload[i]);
    return finish(&w);
}

/* ---- reading ---- */

static uint16_t get16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] | (uint16_t)((uint16_t)bytes[1] << 8));
}

static uint32_t get32(const uint8_t *bytes)
{
    return get16(bytes) | (uint32_t)get16(bytes + 2) << 16;
}

bool ekd_parse_data(const uint8_t *payload, size_t n, ekd_data *data)
{
    if (n < 10 || payload[0] != EKD_DATA || n != 8u + 2u * payload[7])
        return false;
    data->seq = get16(payload + 1);
    data->first_index = get32(payload + 3);
    data->n = payload[7];
    data->counts = payload + 8;
    return true;
}

uint16_t ekd_count(const ekd_data *data, uint8_t i)
{
    return get16(data->counts + 2u * i);
}

uint8_t ekd_hello_version(const uint8_t *payload, size_t n)
{
    return n >= 2 && payload[0] == EKD_HELLO ? payload[1] : 0;
}

bool ekd_parse_hello(const uint8_t *payload, size_t n, ekd_hello *hello)
{
    if (n < 34 || payload[0] != EKD_HELLO || payload[1] != EKD_VERSION)
        return false;
    memcpy(hello->device_id, payload + 2, 8);
    hello->boot_nonce = get32(payload + 10);
    hello->rate_numerator = get32(payload + 14);
    hello->rate_denominator = get32(payload + 18);
    hello->adc_bits = payload[22];
    hello->vref_mv = get16(payload + 23);
    hello->profile = payload[25];
    for (uint8_t i = 0; i < 2; i++) {
        uint32_t bits = get32(payload + 26 + 4u * i);
        memcpy(&hello->calibration[i], &bits, sizeof bits);
    }
    return true;
}

bool ekd_parse_status(const uint8_t *payload, size_t n, ekd_status *status)
{
    if (n < 10 || payload[0] != EKD_STATUS)
        return false;
    status->overruns = get32(payload + 1);
    status->saturated = get32(payload + 5);
    status->lead_off = (payload[9] & 1u) != 0;
    return true;
}

bool ekd_parse_request(const uint8_t *payload, size_t n, uint8_t *version)
{
    if (n < 1 || payload[0] != EKD_REQUEST_HELLO)
        return false;
    *version = n > 1 ? payload[1] : 1u;
    return true;
}

static size_t end_of_frame(ekd_decoder *d)
{
    size_t size = 0;
    if (d->wire_bytes > 0) {
        bool valid = !d->bad && d->block == 0 && d->length >= 3;
        if (valid)
            valid = ekd_crc16(d->buffer, (size_t)d->length - 2u) == get16(d->buffer + d->length - 2);
        if (valid) {
            d->frames++;
            size = (size_t)d->length - 2u;
        } else {
            d->discarded_bytes += d->wire_bytes;
            d->rejected += d->synced ? 1u : 0u;
        }
    }
    d->synced = true;
    d->bad = d->zero_due = false;
    d->wire_bytes = d->length = 0;
    d->block = 0;
    return size;
}

static void keep(ekd_decoder *d, uint8_t byte)
{
    if (d->length < EKD_DECODER_BYTES)
        d->buffer[d->length++] = byte;
    else
        d->bad = true;
}

size_t ekd_decoder_push(ekd_decoder *d, uint8_t byte)
{
    if (byte == 0)
        return end_of_frame(d);
    if (d->wire_bytes == UINT16_MAX) { /* A stream without delimiters: add the bytes to the count before the counter overflows. */
        d->discarded_bytes += d->wire_bytes;
        d->wire_bytes = 0;
    }
    if (++d->wire_bytes > EKD_MAX_WIRE)
        d->bad = true;
    if (d->bad)
        return 0;
    if (d->block > 0) {
        keep(d, byte);
        d->block--;
        return 0;
    }
    if (d->zero_due)
        keep(d, 0);
    d->block = (uint8_t)(byte - 1u);
    d->zero_due = byte != 0xFFu;
    return 0;
}
