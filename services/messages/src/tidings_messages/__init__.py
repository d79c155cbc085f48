"""The messages service: posting and reading on a shared board."""
