"""What runs around the product: the demonstration, a feed of example postings, a Kafka for development, dashboards, alerts."""
