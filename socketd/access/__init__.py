"""
Who may connect: networks, rates, capacity, bans, and the guard of datagrams.
"""
