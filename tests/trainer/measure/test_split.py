"""What is held out: reproducible, of the asked size, never a whole label, and by titles never half of one."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.measure.split import LEAST_SOURCE_ROWS, MOST_SOURCES, draw_calibration_rows, hold_out, list_sources

rows = st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from("uvwxyz")), max_size=60)
shares = st.floats(0.01, 0.99)
seeds = st.integers(0, 2**32)


@given(rows, shares, seeds, st.sampled_from(["random", "title"]))
def test_a_split_depends_on_nothing_but_the_seed(drawn: list[tuple[str, str]], share: float, seed: int, kind: str) -> None:
    labels, titles = [label for label, _ in drawn], [title for _, title in drawn]
    first, second = (hold_out(labels, titles, share=share, seed=seed, kind=kind) for _ in range(2))
    assert first == second
    assert len(first) == len(drawn)


@given(rows, shares, seeds)
def test_a_random_split_leaves_every_label_a_row_to_learn_from(drawn: list[tuple[str, str]], share: float, seed: int) -> None:
    labels = [label for label, _ in drawn]
    held = hold_out(labels, ["" for _ in drawn], share=share, seed=seed)
    kept = Counter(label for label, out in zip(labels, held, strict=True) if not out)
    assert set(kept) == set(labels)
    for label, count in Counter(labels).items():
        assert count - kept[label] <= share * count + 1


@given(rows, shares, seeds)
def test_a_title_split_puts_no_title_on_both_sides(drawn: list[tuple[str, str]], share: float, seed: int) -> None:
    titles = [title for _, title in drawn]
    held = hold_out(["" for _ in drawn], titles, share=share, seed=seed, kind="title")
    sides = {title: {out for other, out in zip(titles, held, strict=True) if other == title} for title in titles}
    assert all(len(side) == 1 for side in sides.values())
    assert sum(side == {True} for side in sides.values()) == round(share * len(sides))


@pytest.mark.parametrize("rows_per_label", [2, 3, 7, 1_000])
def test_the_share_is_right_on_average_for_small_and_large_labels(rows_per_label: int) -> None:
    labels = [row // rows_per_label for row in range(20_000)]
    held = hold_out(labels, [""] * len(labels), share=0.2, seed=0)
    assert sum(held) / len(held) == pytest.approx(0.2, abs=0.01)


def test_another_seed_holds_out_other_rows() -> None:
    labels, titles = ["a"] * 100, [str(row) for row in range(100)]
    for kind in ("random", "title"):
        assert hold_out(labels, titles, share=0.5, seed=0, kind=kind) != hold_out(labels, titles, share=0.5, seed=1, kind=kind)


@given(rows, seeds, st.sampled_from(["random", "title", "digest"]))
def test_what_is_measured_on_is_not_calibrated_on(drawn: list[tuple[str, str]], seed: int, kind: str) -> None:
    labels, titles = [label for label, _ in drawn], [title for _, title in drawn]
    tested = hold_out(labels, titles, share=0.3, seed=seed, kind=kind)
    calibrating = draw_calibration_rows(labels, titles, tested, calibration=0.4, rounds=2, seed=seed)
    assert len(calibrating) == 2
    assert all(sum(row) <= 1 for row in zip(tested, *calibrating, strict=True))


def test_the_largest_sources_are_held_out_and_no_small_one() -> None:
    sizes = {f"source {rows}": rows for rows in range(LEAST_SOURCE_ROWS - 2, LEAST_SOURCE_ROWS + 10)}
    sources = [source for source, rows in sizes.items() for _ in range(rows)] + [None, ""] * 100
    assert list_sources(sources) == sorted(sizes, key=lambda source: -sizes[source])[:MOST_SOURCES]
    assert list_sources(["small"] * (LEAST_SOURCE_ROWS - 1)) == []
