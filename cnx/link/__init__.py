"""One open transport, and the thread that serves it."""
