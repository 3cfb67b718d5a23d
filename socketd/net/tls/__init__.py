"""
TLS: certificates, contexts that are swapped while serving, and the layer.
"""
