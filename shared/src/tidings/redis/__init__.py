"""Redis: a client that answers in time or says that it cannot."""
