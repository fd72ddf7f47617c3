// The main() of the Arduino core, for building the sketch without the Arduino IDE.
void setup();
void loop();

int main() {
  setup();
  for (;;) {
    loop();
  }
}
