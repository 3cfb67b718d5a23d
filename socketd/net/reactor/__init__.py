"""
A reactor in front of the reactor, for many connections at little cost.
"""
