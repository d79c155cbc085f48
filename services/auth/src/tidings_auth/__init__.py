"""The auth service: accounts, sessions and the access tokens that every service believes."""
