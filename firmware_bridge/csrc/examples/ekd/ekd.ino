// The same firmware as `make` builds, for the Arduino IDE: board "Arduino Uno" or "Arduino Nano", 16 MHz.
// It uses the serial port itself: do not use Serial here.
#include <ekd_firmware.h>

void setup() {
  ekd_setup();
}

void loop() {
  ekd_loop();
}
