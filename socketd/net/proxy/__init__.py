"""The PROXY protocol: the header parser, and the layer that uses it."""
