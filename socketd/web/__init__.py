"""The HTTP interface for programs: metrics and a health check."""
