"""What several tests share: a scorer that is quick to start and can be told to misbehave."""
