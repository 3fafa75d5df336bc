"""Data that the trainer's tests train on: a release of four occupations, postings of them, and an encoder of a few kilobytes."""

import csv
import string
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch

OCCUPATIONS = {
    "11-1011.00": "Chief Executives",
    "29-1141.00": "Registered Nurses",
    "35-2014.00": "Cooks, Restaurant",
    "53-3032.00": "Heavy and Tractor-Trailer Truck Drivers",
}
"""The last has no posting in POSTINGS."""
ALTERNATE = {"29-1141.00": ("RN", "Staff Nurse"), "35-2014.00": ("Line Cook",), "53-3032.00": ("Trucker",)}
WORDS = {"11-1011.00": "CEO", "29-1141.00": "Nurse", "35-2014.00": "Cook"}
POSTINGS = [(f"{word} {place}", code) for code, word in WORDS.items() for place in string.ascii_uppercase]
CSV_COLUMNS = ("TITLE_RAW", "ONET")


def write_release(folder: Path, *, occupations: Mapping[str, str] = OCCUPATIONS) -> Path:
    """Write the three files of an O*NET text release that the trainer reads."""
    folder.mkdir(exist_ok=True)
    tables: dict[str, list[Sequence[str]]] = {
        "Occupation Data.txt": [("O*NET-SOC Code", "Title", "Description"), *((c, t, "-") for c, t in occupations.items())],
        "Sample of Reported Titles.txt": [
            ("O*NET-SOC Code", "Reported Job Title", "Shown in My Next Move"),
            ("29-1141.00", "Charge Nurse", "Y"),
        ],
        "Alternate Titles.txt": [
            ("O*NET-SOC Code", "Alternate Title", "Short Title", "Source(s)"),
            *((code, title, "n/a", "01") for code, titles in ALTERNATE.items() for title in titles),
        ],
    }
    for name, rows in tables.items():
        (folder / name).write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def write_postings(path: Path, rows: Iterable[Sequence[str]] = POSTINGS, *, columns: Sequence[str] = CSV_COLUMNS) -> Path:
    """Write a CSV file of postings."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def write_encoder(folder: Path) -> Path:
    """Save a transformer of one small layer with random weights: it loads and encodes as a real one does, in no time."""
    from transformers import BertConfig, BertModel, BertTokenizerFast  # type: ignore[attr-defined] # made when it is asked for

    folder.mkdir()
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.ascii_lowercase, *(f"##{c}" for c in string.ascii_lowercase)]
    (folder / "vocab.txt").write_text("\n".join(pieces))
    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(pieces), max_position_embeddings=130, **small)).save_pretrained(folder)
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    return folder
