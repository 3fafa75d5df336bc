"""What crosses a process boundary: events, the text a model sees, the artifact. Imports nothing of ours."""
