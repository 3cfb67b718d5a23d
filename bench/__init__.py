"""
The benchmark: socketd and its peers, in turn, on the same core, under the same load.

C{python -m bench} builds the load generator, measures and writes the tables; C{python -m bench
profile WORK} counts socketd's system calls under one load.

Where to find what::

    works.py     what is measured, with which load, against which peers
    servers.py   who is measured, and how each is started
    load.c       the load generator; load.py builds it and reads its result
    nts.py       what NTS is asked
    offset.py    a client of the time
    process.py   one server: start on its core, first answer, stop
    proc.py      CPU time and memory from /proc
    runner.py    the rounds
    results.py   samples, medians, ratios
    reach.py     the figures that socketd has to reach, and the verdicts
    before.py    another checkout of socketd in turn with this one
    report.py    the tables
    machine.py   what they were measured on
    syscalls.py  the profile
    lag.py       how late timers are under floods
    notes.md     words for the results: where the time goes, what was tried (optional)
"""
