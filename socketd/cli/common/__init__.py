"""
What all commands share: addresses, arguments, errors, output.
"""
