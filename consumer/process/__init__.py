"""What every process needs: watched threads, signals, health checks and metrics over HTTP. Start at `background.py`.

Nothing here knows of Kafka, models or postings. The trainer's refresh service uses it, too.
"""
