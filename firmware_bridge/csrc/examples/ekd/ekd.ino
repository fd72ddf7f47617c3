// The firmware that `make` builds, for the Arduino IDE: board "Arduino Uno" or "Arduino Nano", 16 MHz.
// The firmware uses the serial port: do not use Serial here.
#include <ekd_firmware.h>

void setup() {
  ekd_setup();
}

void loop() {
  ekd_loop();
}
