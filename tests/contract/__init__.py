"""What Twisted's own tests ask of a reactor and its transports, asked of ours."""
