"""Writes the profiles into docs/profiles.md: `python -m deploy.profiles_page`. A test compares the page with their files."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from consumer.feeds.profiles import Profile, profile_names, read_profile

PAGE = Path(__file__).parents[1] / "docs" / "profiles.md"
MARK = "<!-- From here on written by python -m deploy.profiles_page. -->\n"
"""What is above this line of the page is written by hand."""


def make_sections() -> str:
    """Return the part of the page below MARK: a section for each profile."""
    return "\n".join(map(_make_section, map(read_profile, profile_names())))


def write_page(page: Path = PAGE) -> None:
    """Write the sections below MARK."""
    head, mark, _old = page.read_text(encoding="utf-8").partition(MARK)
    page.write_text(f"{head}{mark or MARK}\n{make_sections()}", encoding="utf-8")


def _make_section(profile: Profile) -> str:
    rows = [f"| `{field}` | {_show_expressions(given)} |" for field, given in profile.mapping.items()]
    result = json.dumps(profile.result, ensure_ascii=False, indent=1)
    return "\n".join(
        (
            f"### {profile.name}\n",
            f"{profile.description}.\n",
            "| field | the first of these that finds something |",
            "|---|---|",
            *rows,
            f"\nA message, and what is found in it:\n\n```json\n{profile.example}\n```\n",
            f"```json\n{result}\n```\n",
        )
    )


def _show_expressions(expressions: Sequence[str]) -> str:
    return ", ".join("`" + text.replace("|", "\\|") + "`" for text in expressions)


if __name__ == "__main__":
    write_page()
    sys.stdout.write(f"{PAGE} is written\n")
