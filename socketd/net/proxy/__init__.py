"""
The PROXY header, and the layer that reads it.
"""
