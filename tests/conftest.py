"""What every test may rely on."""

from __future__ import annotations

import signal

# A shell starts background jobs with Ctrl-C ignored, and children inherit that; tests of interrupts
# need the usual one.
signal.signal(signal.SIGINT, signal.default_int_handler)
