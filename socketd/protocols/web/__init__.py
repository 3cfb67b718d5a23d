"""The protocols of the web: HTTP and WebSocket."""
