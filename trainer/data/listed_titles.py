"""O*NET's job titles in the place of labelled postings: a first model without labels is trained on them."""

from collections import defaultdict

from schemas.events import LabelledPosting
from schemas.tables import TableError
from trainer.data.cleaned_titles import cached_title_key
from trainer.data.files import LabelledRows
from trainer.data.onet import Taxonomy

SOURCE = "O*NET"


def list_unambiguous_titles(taxonomy: Taxonomy) -> LabelledRows:
    """Return a row for each job title that O*NET lists under one code only and that names no category.

    Titles can be held out like postings: then the model does not know them. Raises TableError if the release lists none.
    """
    codes: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for code, titles in taxonomy.titles.items():
        for title in titles:
            codes[cached_title_key(title)][code] = title
    names = {cached_title_key(name) for name in taxonomy.names.values()}
    rows = [pair for key, of_key in codes.items() if len(of_key) == 1 and key not in names for pair in of_key.items()]
    if not rows:
        raise TableError("O*NET lists no job title to learn from; give labelled postings, or a release with job titles")
    return LabelledRows(tuple(LabelledPosting(title=title, onet_code=code, source=SOURCE) for code, title in rows), {})
