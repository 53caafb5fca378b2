"""The comparer and the timers that tests and benches share."""
