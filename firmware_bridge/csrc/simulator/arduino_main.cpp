// What the Arduino core's main() does, for building the sketch without the Arduino IDE.
void setup();
void loop();

int main() {
  setup();
  for (;;) {
    loop();
  }
}
