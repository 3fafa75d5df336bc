"""The data that the trainer learns from: files of labelled postings, the meaning of labels, O*NET releases. Start at `files.py`.

Nothing here embeds a title or fits a model: see `fit/`.
"""
