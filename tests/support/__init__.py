"""What the tests share: real servers, running systems, and the ends that a system talks to."""
