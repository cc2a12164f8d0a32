"""Events: the outbox, the relay that sends it, the log that followers read, and the bus."""
