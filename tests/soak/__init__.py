"""Mixed load with faults on, for minutes: C{make soak}; C{make test-daemon} has one of seconds."""
