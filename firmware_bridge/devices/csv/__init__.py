"""Lines of text, `value` or `millis,value`, from a microcontroller sketch or a CSV file."""
