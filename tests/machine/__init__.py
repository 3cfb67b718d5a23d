"""
Tests of the Debian package, on a Debian of its own with its own systemd. They need root,
debootstrap and systemd-nspawn, and are run by C{make system-test} only.
"""
