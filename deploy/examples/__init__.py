"""Small programs to start your own from. Each is run by a test against a real Kafka; nothing of the product imports them."""
