"""The protocols of the web: HTTP."""
