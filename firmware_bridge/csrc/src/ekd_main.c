#if defined(__AVR__) && !defined(ARDUINO)
#include "ekd_firmware.h"

int main(void)
{
    ekd_setup();
    for (;;)
        ekd_loop();
}
#else
typedef int ekd_main_is_for_avr;
#endif
