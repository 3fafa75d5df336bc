"""The fault suite: what is promised, proved on real Kafka brokers while brokers, consumers and the network fail."""
