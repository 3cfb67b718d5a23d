"""
The operator's commands, and the console that they are typed at.
"""
