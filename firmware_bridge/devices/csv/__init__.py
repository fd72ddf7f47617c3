"""Lines of text: `value` or `millis,value`, from any sketch or file."""
