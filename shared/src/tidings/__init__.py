"""Tidings, the library: what the services and other teams' event producers share."""
