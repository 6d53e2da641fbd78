"""Keep a connection up: the state machine, the worker thread, and the backoff between attempts."""
