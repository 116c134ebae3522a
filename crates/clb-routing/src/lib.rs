//! Request to rule, exactly as nginx does it, and why this one; no I/O.
