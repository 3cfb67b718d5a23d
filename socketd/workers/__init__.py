"""Several processes that serve as one daemon: a master, and workers that it starts."""
