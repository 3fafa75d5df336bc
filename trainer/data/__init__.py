"""What the trainer learns from: files of labelled postings, what a label means, the O*NET release. Start at `files.py`.

Nothing here embeds a title or fits a model: see `fit/`.
"""
