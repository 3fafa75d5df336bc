"""What crosses a process boundary: events, the text that a model reads, the artifact. Imports no other package of ours."""
