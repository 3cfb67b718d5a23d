"""A wrapper of Twisted's reactor that handles events in batches with its own epoll."""
