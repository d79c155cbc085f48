"""The transactional outbox: a fact is written with the change it tells of, and published after the commit."""
