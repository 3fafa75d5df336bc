"""The text that a model sees is the same for every spelling of a title or body, in training and in serving."""

import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.text import (
    MAX_BODY_CHARS,
    TEMPLATE_ID,
    body_text,
    clean_title,
    plain_body,
    plain_text,
    plain_title,
    title_key,
)

MARKS = (
    "&amp;,&,amp;,&lt;,&gt;,&#60;,&#x26;,&#97;mp;,&nbsp,&copy,lt;,#,;,<b>,</b>,<p>,<br/>,<,>,<!--,-->,<a href='x'>,<x>,</x>,"
    "<script>,</script>,-,--,*,**,_,__,~~,`,```,\\,[,],(,),](x),|,|-|,\n,\r\n, ,\t,\u00a0,\u200d,\u00ad,\ufe0f,1\ufe0f\u20e3,"
    "\U0001f69a,\u2605,$,$$,\uff1c,\uff06,\u2122,\u00b4,e\u0301,\u0301,Driver,Nurse,a,1,#,# ,> ,- ,+ ,===,&#0;,\ud800"
)
PIECES = [*MARKS.split(",")]
TEXTS = st.one_of(st.text(max_size=80), st.lists(st.sampled_from(PIECES), max_size=24).map("".join))


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("Registered Nurse", "Registered Nurse"),
        ("  Registered\u00a0\u2003Nurse\r\n", "Registered Nurse"),
        ("Ｃｏｏｋ", "Cook"),
        ("O\ufb03ce Clerk", "Office Clerk"),
        ("Cafe\u0301 Manager", "Café Manager"),
        ("CDL-A Driver (m/f/d) – $30/hr", "CDL-A Driver"),
        (" \t\n\u3000", ""),
        ("Baker&nbsp;&amp;amp; <em>Pastry</em> Cook \U0001f950", "Baker & Pastry Cook"),
    ],
)
def test_template_title_v4_stays_what_artifacts_were_trained_on(title: str, text: str) -> None:
    assert TEMPLATE_ID == "title-v4"
    assert clean_title(title) == text


@settings(deadline=None)
@given(st.text(), st.sampled_from([" ", "\n", "\u00a0", "\t \u3000"]))
def test_white_space_around_a_title_changes_nothing(title: str, space: str) -> None:
    assert clean_title(space + title + space) == clean_title(title)


@pytest.mark.parametrize(("one", "other"), [("REGISTERED nurse", "Registered  Nurse "), ("Straßenbauer", "STRASSENBAUER")])
def test_two_spellings_of_one_title_meet_under_one_key(one: str, other: str) -> None:
    assert title_key(clean_title(one)) == title_key(clean_title(other))


@pytest.mark.parametrize(
    ("posted", "title"),
    [
        ("Roofer &amp; Tiler Co&#8209;worker&nbsp;(f/m)", "Roofer & Tiler Co-worker (f/m)"),
        ("Roofer &amp;amp;amp; Tiler", "Roofer & Tiler"),
        ("Roofer &amp Tiler", "Roofer & Tiler"),
        ("Ing&eacutenieur", "Ingénieur"),
        ("BAKER &AMP;&NBSP;COOK", "BAKER & COOK"),
        ("Forklift Class 3 <strong>Operator</strong>", "Forklift Class 3 Operator"),
        ("&lt;b&gt;Plumber&lt;/b&gt;", "Plumber"),
        ("Plum<b>b</b>er<br>Nights", "Plumber Nights"),
        ('<span title="a > b">Plumber</span><!-- x > y -->', "Plumber"),
        ("C++ <-> C# porter", "C++ <-> C# porter"),
        ("R&D chef, <3 years, AT&T", "R&D chef, <3 years, AT&T"),
        ("Legal&regulatory clerk", "Legal&regulatory clerk"),
        ("Developer <Kotlin>", "Developer <Kotlin>"),
        ("Co\u00adordinator\u200b", "Coordinator"),
        ("Acme\u2122 Roofer \u2605", "Acme\u2122 Roofer \u2605"),
    ],
)
def test_a_plain_title_has_no_markup_and_all_its_words(posted: str, title: str) -> None:
    assert plain_title(posted) == title


@pytest.mark.parametrize(
    "title",
    [
        "\U0001f69aRoofer",
        "Roofer\u2705",
        "\u2605Roofer\u2605",
        "$$Roofer$$",
        "\u20ac\u20ac\u20acRoofer",
        "1\ufe0f\u20e3Roofer2\u20e3",
        "\U0001f469\u200d\U0001f692Roofer\U0001f469\U0001f3fd\u200d\U0001f692",
        "\u2764\ufe0fRoofer\ufe0f",
        "\U0001f1e9\U0001f1eaRoofer\U0001f3f4\U000e0067\U000e0062\U000e007f",
        "&#x1F525;Roofer\u2122",
        "\u2192Roofer\ue000",
    ],
)
def test_symbols_glued_to_a_word_do_not_cost_the_word(title: str) -> None:
    assert plain_text(title) == clean_title(title) == "Roofer"


def test_pay_and_numbers_keep_their_signs_until_they_are_cleaned() -> None:
    assert plain_text("Roofer $$25/hr 4×10 −5°") == "Roofer $25/hr 4×10 -5"
    assert clean_title("Roofer 💰$25/hr💰") == "Roofer"


def test_a_title_of_symbols_only_stays_a_title() -> None:
    assert plain_text("\U0001f69a \u2605") == "\U0001f69a \u2605"


@pytest.mark.parametrize(
    ("posted", "body"),
    [
        ("&lt;p&gt;Bake &amp;amp; ice&lt;/p&gt;&lt;ul&gt;&lt;li&gt;Cakes&lt;/li&gt;&lt;/ul&gt;", "Bake & ice\n\nCakes"),
        ("<style>p {color: red}</style>Bake<script>let a = '<b>';</script>", "Bake"),
        ("<div>Bake</div><div>Plum<b>b</b>ing<br>Nights</div>", "Bake\n\nPlumbing\nNights"),
        ("# Role\r\n\r\n**Bake** and *ice* __all__ ~~day~~ `now`", "Role\n\nBake and ice all day now"),
        ("* Bake\n- Ice\n+ Fry\n• Boil\n1. Fold\n> Stir\n- [x] Done", "Bake\nIce\nFry\nBoil\n1. Fold\nStir\nDone"),
        (
            '[Our bakery](https://bake.example/a_(b) "t") ![oven](o.png) [menu][1]\n\n[1]: https://m.example',
            "Our bakery oven menu",
        ),
        ("```sql\nselect 1\n```\n<https://bake.example>", "select 1\n\nhttps://bake.example"),
        ("| Day | Pay |\n|-----|:---:|\n| Mon | 20 |", "Day Pay\n\nMon 20"),
        ("Duties\n======\nBake\n---\nIce", "Duties\n\nBake\n\nIce"),
        ("snake_case 5 * 3 * 2 C# #1 [Acme] a\\-b C:\\bake", "snake_case 5 * 3 * 2 C# #1 [Acme] a-b C:\\bake"),
        ("**DUTIES**Bake cakes. **Pay:**20", "DUTIES Bake cakes. Pay: 20"),
        ("Pan-Asian\ufe0f kitchen \U0001f35c, Acme\u2122", "Pan-Asian\ufe0f kitchen \U0001f35c, Acme\u2122"),
    ],
)
def test_a_plain_body_has_no_markup_all_its_words_and_its_lines(posted: str, body: str) -> None:
    lines = [line for line in plain_body(posted).split("\n") if line]
    assert lines == [line for line in body.split("\n") if line]


def test_a_body_is_whole_in_the_event_and_cut_for_the_model() -> None:
    body = "<p>" + "ab " * MAX_BODY_CHARS
    assert len(plain_body(body)) == 3 * MAX_BODY_CHARS - 1
    assert len(body_text(body)) <= MAX_BODY_CHARS


@settings(deadline=None, max_examples=500)
@given(TEXTS)
def test_decoding_what_is_decoded_changes_nothing(text: str) -> None:
    for decode in (plain_title, plain_body, plain_text):
        assert decode(decode(text)) == decode(text)


@settings(deadline=None, max_examples=300)
@given(TEXTS)
def test_the_model_reads_a_decoded_posting_as_it_reads_the_posted_one(text: str) -> None:
    assert plain_text(plain_title(text)) == plain_text(text)
    assert clean_title(plain_title(text)) == clean_title(text)
    assert body_text(plain_body(text)) == body_text(text)


@pytest.mark.parametrize("decode", [plain_title, plain_body, plain_text, clean_title, body_text])
@pytest.mark.parametrize(
    "hostile",
    [
        "&" + "amp;" * 200_000,
        "&amp;" * 200_000,
        "&" + "#97;mp;" * 140_000,
        "".join(f"&#{number};" for number in range(100_000)),
        "<" * 1_000_000,
        "<b>" * 330_000,
        "<p a='" * 160_000,
        "<!--" * 250_000,
        "<script>" * 120_000,
        "".join(f"</x{number}>" for number in range(100_000)),
        "[a](" * 250_000,
        "*a" * 500_000,
        "_" * 1_000_000,
        "\\" * 1_000_000,
        "| " * 500_000,
        "\n- " * 330_000,
        " " * 1_000_000,
    ],
    ids=lambda text: text[:8] if isinstance(text, str) else text.__name__,
)
def test_a_megabyte_of_hostile_text_is_decoded_in_bounded_time(hostile: str, decode: Callable[[str], str]) -> None:
    started = time.process_time()
    decode(hostile)
    assert time.process_time() - started < 0.5  # 0.05 at most on an idle machine
