/* The serial link, by interrupts: sending never waits. */
#ifndef EKD_UART_H
#define EKD_UART_H

#include <stdbool.h>
#include <stdint.h>

void ekd_uart_start(void);
/* Takes all of the bytes, or none and returns false where there is no room. n is at most 127. */
bool ekd_uart_send(const uint8_t *bytes, uint8_t n);
/* The next byte received, or -1. */
int16_t ekd_uart_receive(void);

#endif
