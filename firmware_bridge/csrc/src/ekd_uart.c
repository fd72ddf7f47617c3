#if defined(__AVR__)
#include "ekd_uart.h"

#include <avr/interrupt.h>
#include <avr/io.h>

#include "ekd_config.h"

/* At 16 MHz the baud rate is 117647 instead of 115200, an error of 2.1 %, which receivers tolerate. */
#define BAUD EKD_BAUD
#define BAUD_TOL 3
#include <util/setbaud.h>

#define TX_BYTES 128u /* a HELLO, a STATUS and a DATA frame of 8 samples have 80 bytes */
#define RX_BYTES 16u

static uint8_t tx[TX_BYTES], rx[RX_BYTES];
static volatile uint8_t tx_head, tx_tail, rx_head, rx_tail;

ISR(USART_UDRE_vect)
{
    uint8_t tail = tx_tail;
    if (tail == tx_head) {
        UCSR0B = (uint8_t)(UCSR0B & ~(1u << UDRIE0));
        return;
    }
    UDR0 = tx[tail];
    tx_tail = (uint8_t)((tail + 1u) % TX_BYTES);
}

ISR(USART_RX_vect)
{
    uint8_t byte = UDR0;
    uint8_t next = (uint8_t)((rx_head + 1u) % RX_BYTES);
    if (next != rx_tail) {
        rx[rx_head] = byte;
        rx_head = next;
    }
}

void ekd_uart_start(void)
{
    UBRR0 = UBRR_VALUE;
#if USE_2X
    UCSR0A = (uint8_t)(1u << U2X0);
#else
    UCSR0A = 0;
#endif
    UCSR0C = (uint8_t)((1u << UCSZ01) | (1u << UCSZ00));
    UCSR0B = (uint8_t)((1u << RXEN0) | (1u << TXEN0) | (1u << RXCIE0));
}

bool ekd_uart_send(const uint8_t *bytes, uint8_t n)
{
    uint8_t head = tx_head;
    uint8_t used = (uint8_t)((uint8_t)(head - tx_tail) % TX_BYTES);
    if (n >= TX_BYTES - used)
        return false;
    for (uint8_t i = 0; i < n; i++) {
        tx[head] = bytes[i];
        head = (uint8_t)((head + 1u) % TX_BYTES);
    }
    tx_head = head;
    UCSR0B = (uint8_t)(UCSR0B | (1u << UDRIE0));
    return true;
}

int16_t ekd_uart_receive(void)
{
    uint8_t tail = rx_tail;
    if (tail == rx_head)
        return -1;
    uint8_t byte = rx[tail];
    rx_tail = (uint8_t)((tail + 1u) % RX_BYTES);
    return byte;
}
#else
typedef int ekd_uart_is_for_avr;
#endif
