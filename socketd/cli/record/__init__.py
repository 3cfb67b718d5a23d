"""C{socketd record}: passes one conversation on, and writes what repeats it."""
