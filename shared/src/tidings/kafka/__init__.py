"""Kafka: the publisher, the activity lane and the consumer loop, each of which outlives its broker."""
