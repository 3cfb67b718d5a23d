"""Any input, any order of events: C{make fuzz} for minutes, C{make test} for seconds."""
