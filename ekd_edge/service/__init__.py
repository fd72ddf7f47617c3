"""The long-running process: sensor sessions, reader threads, the status file."""
