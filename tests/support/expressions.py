"""JMESPath expressions and JSON values, drawn at random; names are few, so that expressions often find something."""

from typing import Any

import jmespath
from hypothesis import strategies as st

NAMES = st.sampled_from(("a", "b", "c", '"@type"', "title"))
TEMPLATES = (
    *("{0}.{1}", "{0}[*].{1}", "{0}[].{1}", "{0}[?{1}]", "{0}[?{1} == {2}].{2}", "{0}[?{1} > `1`]", "[{0}, {1}]", "{{x: {0}}}"),
    *("{0} || {1}", "{0} && {1}", "!{0}", "{0} | {1}", "({0})[0]", "{0}[-1]", "{0}[::-1]", "{0}.*", "*.{0}", "[]", "@"),
    *("length({0})", "to_string({0})", "to_number({0})", "to_array({0})[].{1}", "join('-', {0})", "max({0})", "sum({0})"),
    *("sort({0})", "sort_by({0}, &{1})", "min_by({0}, &{1})", "map(&{1}, {0})", "contains({0}, 'a')", "type({0})"),
    *("not_null({0}, {1})", "keys({0})", "values({0})", "reverse({0})", "abs({0})", "ceil({0})", "avg({0})"),
    *("merge({0}, {1})", "starts_with({0}, 'a')"),
)


def _nest(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(lambda template, parts: template.format(*parts), st.sampled_from(TEMPLATES), st.tuples(inner, NAMES, NAMES))


def _parses(expression: str) -> bool:
    try:
        jmespath.compile(expression)
    except jmespath.exceptions.ParseError:
        return False
    return True


expressions: st.SearchStrategy[str] = st.recursive(NAMES, _nest, max_leaves=6).filter(_parses)


def json_values(numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return JSON values with the names that expressions ask for."""
    leaves = st.none() | st.booleans() | numbers | st.sampled_from(("", " ", "a", "Cook", "nan", "7"))
    keys = st.sampled_from(("a", "b", "c", "@type", "title"))
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=20
    )


def messages(numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return JSON objects with the names that expressions ask for."""
    return st.dictionaries(st.sampled_from(("a", "b", "c", "@type", "title")), json_values(numbers), max_size=5)
