#if defined(__AVR__)
#include "ekd_firmware.h"

#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>
#include <avr/wdt.h>

#include "ekd_config.h"
#include "ekd_frame.h"
#include "ekd_identity.h"
#include "ekd_sampler.h"
#include "ekd_uart.h"

#define BLOCKS_PER_S (EKD_RATE_HZ / EKD_BLOCK)
#define STEADY_BLOCKS 4u /* blocks (a quarter of a second) before an electrode counts as off or on */

static ekd_hello hello = {
    .rate_numerator = EKD_RATE_HZ,
    .rate_denominator = 1,
    .adc_bits = EKD_ADC_BITS,
    .vref_mv = EKD_VREF_MV,
    .profile = 1,
    .calibration = {EKD_SERIES_OHM, EKD_OPEN_COUNT},
};
static ekd_status status;
static ekd_decoder commands;
static uint8_t wire[EKD_HELLO_WIRE];
static bool hello_due, status_due;
static uint16_t seq;
static uint32_t unsent;

/* Disables the watchdog first: after it has reset the chip it stays enabled with the shortest timeout. */
static void watchdog_off(void) __attribute__((naked, used, section(".init3")));
static void watchdog_off(void)
{
    MCUSR = 0;
    wdt_disable();
}

static void watch_electrodes(const ekd_block *block)
{
    static uint8_t against;
    bool open = true;
    for (uint8_t i = 0; i < EKD_BLOCK; i++)
        open = open && block->counts[i] >= EKD_OPEN_COUNT - EKD_OPEN_MARGIN;
    against = open == status.lead_off ? 0u : (uint8_t)(against + 1u);
    if (against < STEADY_BLOCKS)
        return;
    against = 0;
    status.lead_off = open;
    status_due = true;
}

static void send_block(const ekd_block *block)
{
    static uint8_t blocks;
    uint8_t size = (uint8_t)ekd_encode_data(wire, seq, block->first_index, block->counts, EKD_BLOCK);
    if (ekd_uart_send(wire, size))
        seq++;
    else
        unsent += EKD_BLOCK;
    if (++blocks == BLOCKS_PER_S) {
        blocks = 0;
        hello_due = status_due = true;
    }
}

static void send_what_is_due(void)
{
    if (hello_due && ekd_uart_send(wire, (uint8_t)ekd_encode_hello(wire, &hello)))
        hello_due = false;
    if (!status_due)
        return;
    status.overruns = ekd_sampler_overruns() + unsent;
    status.saturated = ekd_sampler_saturated();
    if (ekd_uart_send(wire, (uint8_t)ekd_encode_status(wire, &status)))
        status_due = false;
}

static void receive_commands(void)
{
    int16_t byte;
    while ((byte = ekd_uart_receive()) >= 0) {
        uint8_t version;
        size_t size = ekd_decoder_push(&commands, (uint8_t)byte);
        /* This firmware supports only version 1 and answers every request with it. */
        if (size > 0 && ekd_parse_request(commands.buffer, size, &version))
            hello_due = true;
    }
}

void ekd_setup(void)
{
    static const uint8_t delimiter = 0;
    ekd_identify(&hello);
    ekd_uart_start();
    ekd_sampler_start();
    SMCR = (uint8_t)(1u << SE); /* idle mode: timer, ADC and UART run and wake the CPU */
    wdt_enable(WDTO_500MS);
    ekd_uart_send(&delimiter, 1);
    hello_due = true;
    sei();
}

void ekd_loop(void)
{
    const ekd_block *block = ekd_sampler_block();
    if (block != NULL) {
        /* The watchdog is reset only after a new block, so that it also detects a sampler that has stopped. */
        wdt_reset();
        watch_electrodes(block);
        send_block(block);
        ekd_sampler_release();
#ifdef EKD_TEST_HANG_AFTER_BLOCKS
        static uint16_t sent;
        while (++sent >= EKD_TEST_HANG_AFTER_BLOCKS)
            sent = EKD_TEST_HANG_AFTER_BLOCKS;
#endif
    }
    receive_commands();
    send_what_is_due();
    sleep_cpu();
}
#else
typedef int ekd_firmware_is_for_avr;
#endif
