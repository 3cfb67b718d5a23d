"""
What programs ask of the daemon over HTTP: figures, and whether it serves.
"""
