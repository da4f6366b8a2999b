"""The machine that a command runs on: processes, signals, display, failures; imports only core."""
