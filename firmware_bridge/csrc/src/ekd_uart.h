/* The serial link by interrupts; sending does not block. */
#ifndef EKD_UART_H
#define EKD_UART_H

#include <stdbool.h>
#include <stdint.h>

void ekd_uart_start(void);
/* Queues all n bytes (at most 127), or none and returns false if the queue is too full. */
bool ekd_uart_send(const uint8_t *bytes, uint8_t n);
/* The next byte received, or -1. */
int16_t ekd_uart_receive(void);

#endif
