//! Faults in our own house: handlers, stabilizers, listeners, arbiters, the clock, the way to stop.
