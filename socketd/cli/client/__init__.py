"""
The commands that talk to a peer: send, chat, time, ping.
"""
