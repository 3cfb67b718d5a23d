"""TLS: certificates, contexts that are replaced while serving, and the TLS layer."""
