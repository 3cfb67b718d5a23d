"""
The commands that prepare a machine: certificates, units, socket options, checks.
"""
