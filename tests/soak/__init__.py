"""
Mixed load with faults on, for minutes: C{make soak}; C{make test} has one of seconds.
"""
