"""
The servers that socketd is measured against: each the shortest honest one of its kind.

Each listens on 127.0.0.1, takes C{--port N} (0: any free one) and prints C{ready N} once it
answers. Those that serve datagrams answer the time on the same number. None of them bounds what
it holds for a client that does not read: the load bounds what is in flight, and a peer without
that care is the faster one, so the comparison is not in socketd's favour.
"""
