#if defined(__AVR__)
#include "ekd_identity.h"

#include <avr/boot.h>
#include <avr/eeprom.h>
#include <avr/io.h>

#include "ekd_config.h"
#include "ekd_sampler.h"

#define ID_AT ((uint8_t *)0)
#define BOOTS_AT ((uint32_t *)8)
#define TEMPERATURE_INPUT 8u
#define SERIAL_AT 0x0Eu
#define SERIAL_BYTES 10u

/* One step of Bob Jenkins' one-at-a-time hash. */
static uint32_t mix(uint32_t hash, uint8_t byte)
{
    hash += byte;
    hash += hash << 10;
    return hash ^ (hash >> 6);
}

#ifndef EKD_DEVICE_ID
static void make_id(uint8_t *id)
{
    uint32_t hash = 0;
    for (uint8_t i = 0; i < SERIAL_BYTES; i++)
        hash = mix(hash, boot_signature_byte_get((uint16_t)(SERIAL_AT + i)));
    for (uint8_t i = 0; i < 8; i++) {
        for (uint8_t j = 0; j < 36; j++)
            hash = mix(hash, (uint8_t)(ekd_sampler_single((uint8_t)(j % (TEMPERATURE_INPUT + 1u))) + TCNT0));
        id[i] = (uint8_t)(hash >> 24);
    }
}
#endif

void ekd_identify(ekd_hello *hello)
{
    uint8_t *id = hello->device_id;
    uint32_t boots = eeprom_read_dword(BOOTS_AT) + 1u;
    eeprom_update_dword(BOOTS_AT, boots);
#ifdef EKD_DEVICE_ID
    for (uint8_t i = 0; i < 8; i++)
        id[i] = (uint8_t)((uint64_t)EKD_DEVICE_ID >> (8u * (7u - i)));
#else
    uint8_t blank = 0xFF;
    eeprom_read_block(id, ID_AT, 8);
    for (uint8_t i = 0; i < 8; i++)
        blank &= id[i];
    if (blank == 0xFF) {
        make_id(id);
        eeprom_update_block(id, ID_AT, 8);
    }
#endif
    uint32_t hash = 0;
    for (uint8_t i = 0; i < 8; i++)
        hash = mix(hash, id[i]);
    hello->boot_nonce = hash + boots * 0x9E3779B1u;
}
#else
typedef int ekd_identity_is_for_avr;
#endif
