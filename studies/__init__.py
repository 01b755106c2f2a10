"""Studies of what the method does, each with its page in docs/."""
