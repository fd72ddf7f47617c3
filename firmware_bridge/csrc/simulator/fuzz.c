/* Decodes a million random, mutated and valid frames under the sanitizers and prints counts as JSON.
 *
 * damaged: frames in which one to three bits, or a burst of up to 16 bits, were flipped before COBS. A CRC-16 with
 * polynomial 0x1021 detects all of these errors at these lengths, so undetected must be 0.
 * false_accepts: decoded frames that were never sent. Mutations on the wire may shift whole blocks, of which the CRC
 * accepts one in 65536.
 * unsynced: valid frames that were missed although a valid frame preceded them; must be 0.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ekd_frame.h"

#define MOST (EKD_MAX_WIRE + 2u)
#define WIRE_ROOM 600u

static uint64_t state;
static ekd_decoder decoder;
#define REMEMBERED 4u
static uint8_t sent[REMEMBERED][EKD_MAX_FRAME]; /* the latest payloads, sent whole or mutated */
static size_t sent_size[REMEMBERED];
static uint32_t sends;
static uint64_t found, false_accepts, pieces;
static bool latest_arrived;

static uint32_t draw(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)((state >> 32) % below);
}

static void parse(const uint8_t *payload, size_t n)
{
    ekd_data data;
    ekd_hello hello;
    ekd_status status;
    uint8_t version;
    volatile uint32_t seen = ekd_hello_version(payload, n);
    if (ekd_parse_data(payload, n, &data))
        for (uint8_t i = 0; i < data.n; i++)
            seen += ekd_count(&data, i);
    seen += ekd_parse_hello(payload, n, &hello) ? hello.boot_nonce : 0u;
    seen += ekd_parse_status(payload, n, &status) ? status.overruns : 0u;
    seen += ekd_parse_request(payload, n, &version) ? version : 0u;
}

static void feed(const uint8_t *wire, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t size = ekd_decoder_push(&decoder, wire[i]);
        pieces += wire[i] == 0;
        if (size == 0)
            continue;
        parse(decoder.buffer, size);
        found++;
        bool known = false;
        for (uint32_t k = 0; k < REMEMBERED; k++) {
            bool same = size == sent_size[k] && memcmp(decoder.buffer, sent[k], size) == 0;
            known = known || same;
            latest_arrived = latest_arrived || (same && k == (sends - 1u) % REMEMBERED);
        }
        false_accepts += !known;
    }
}

static size_t random_payload(uint8_t *payload)
{
    size_t n = 1u + draw(draw(2) ? 40u : 251u);
    for (size_t i = 0; i < n; i++)
        payload[i] = (uint8_t)(draw(3) ? draw(256) : 0u);
    return n;
}

static size_t random_frame(uint8_t *wire)
{
    uint32_t k = sends++ % REMEMBERED;
    sent_size[k] = random_payload(sent[k]);
    latest_arrived = false;
    return ekd_encode_raw(wire, sent[k], sent_size[k]);
}

/* Whether the second of two valid frames is decoded. The first one may be lost with its delimiter. */
static bool resynced(void)
{
    uint8_t wire[MOST];
    for (int i = 0; i < 2; i++)
        feed(wire, random_frame(wire));
    return latest_arrived;
}

static size_t mutate(uint8_t *wire, size_t n)
{
    size_t at = 1u + draw((uint32_t)n - 1u);
    switch (draw(6)) {
    case 0:
        for (uint32_t i = 1u + draw(8); i > 0; i--)
            wire[draw((uint32_t)n)] ^= (uint8_t)(1u << draw(8));
        return n;
    case 1: /* lose a byte */
        memmove(wire + at, wire + at + 1, n - at - 1u);
        return n - 1u;
    case 2: /* insert a byte */
        memmove(wire + at + 1, wire + at, n - at);
        wire[at] = (uint8_t)draw(256);
        return n + 1u;
    case 3: /* truncate */
        return at;
    case 4: /* replace up to 20 bytes by noise */
        for (size_t i = at; i < n && i < at + 20u; i++)
            wire[i] = (uint8_t)draw(256);
        return n;
    default: /* join the end of one frame to another frame */
        memmove(wire, wire + at, n - at);
        return n - at + random_frame(wire + (n - at));
    }
}

/* COBS in its usual form, independent of ekd_frame.c, for frames below 254 bytes. */
static size_t stuff(const uint8_t *bytes, size_t n, uint8_t *wire)
{
    size_t code = 0, end = 1;
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] == 0) {
            wire[code] = (uint8_t)(end - code);
            code = end++;
        } else {
            wire[end++] = bytes[i];
        }
    }
    wire[code] = (uint8_t)(end - code);
    wire[end++] = 0;
    return end;
}

static size_t damaged_frame(uint8_t *wire)
{
    uint8_t frame[EKD_MAX_FRAME];
    size_t n = random_payload(frame);
    uint16_t crc = ekd_crc16(frame, n);
    uint32_t bits;
    frame[n++] = (uint8_t)crc;
    frame[n++] = (uint8_t)(crc >> 8);
    bits = 8u * (uint32_t)n;
    if (draw(2)) { /* flip one to three bits at any position */
        uint32_t first = draw(bits), second = draw(bits), third = draw(bits);
        frame[first / 8] ^= (uint8_t)(0x80u >> first % 8);
        if (draw(2) && second != first)
            frame[second / 8] ^= (uint8_t)(0x80u >> second % 8);
        if (draw(2) && third != first && third != second)
            frame[third / 8] ^= (uint8_t)(0x80u >> third % 8);
    } else { /* flip a burst of up to 16 bits */
        uint32_t length = 1u + draw(bits < 16u ? bits : 16u), begin = draw(bits - length + 1u);
        uint32_t pattern = 1u | draw(1u << 15) << 1;
        for (uint32_t i = 0; i < length; i++)
            if (pattern >> i & 1u)
                frame[(begin + i) / 8] ^= (uint8_t)(0x80u >> (begin + i) % 8);
    }
    return stuff(frame, n, wire);
}

int main(int argc, char **argv)
{
    uint32_t items = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000000u;
    uint64_t undetected = 0, damaged = 0, mutated = 0, noise = 0, unsynced = 0;
    state = argc > 2 ? strtoull(argv[2], NULL, 10) : 20261125u;
    for (uint32_t item = 0; item < items; item++) {
        uint8_t wire[WIRE_ROOM];
        uint64_t before = found;
        size_t n;
        switch (draw(3)) {
        case 0:
            n = damaged_frame(wire);
            feed(wire, n);
            undetected += found - before;
            damaged++;
            break;
        case 1:
            n = mutate(wire, random_frame(wire));
            feed(wire, n);
            mutated++;
            break;
        default:
            n = draw(WIRE_ROOM);
            for (size_t i = 0; i < n; i++)
                wire[i] = (uint8_t)draw(256);
            feed(wire, n);
            noise++;
        }
        unsynced += !resynced();
    }
    printf("{\"items\": %" PRIu32 ", \"damaged\": %" PRIu64 ", \"undetected\": %" PRIu64 ", \"mutated\": %" PRIu64
           ", \"noise\": %" PRIu64 ", \"chances\": %" PRIu64 ", \"false_accepts\": %" PRIu64 ", \"unsynced\": %" PRIu64
           ", \"frames\": %" PRIu32 ", \"rejected\": %" PRIu32 "}\n",
           items, damaged, undetected, mutated, noise, pieces, false_accepts, unsynced, decoder.frames, decoder.rejected);
    return 0;
}
