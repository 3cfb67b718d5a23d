"""
INI text to frozen settings, with every complaint at once; pure, no reactor.
"""
