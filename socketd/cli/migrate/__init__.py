"""
C{socketd import}: a configuration made of those of inetd and xinetd.
"""
