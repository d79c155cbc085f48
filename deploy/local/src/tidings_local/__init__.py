"""Tidings on one machine: all services in one process on one port, and real servers for tests."""
