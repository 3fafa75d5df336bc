"""Figures of a model's answers to judged postings: pure functions that return plain dicts, ready for JSON."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from schemas.soc import soc_major
from trainer.measure.figures import Figures
from trainer.measure.resampling import BOUNDS, draw_resamples

TOPS = (1, 3, 5)


@dataclass(frozen=True, eq=False)
class Judgements:
    """What judges say of a model's answers to n postings. All are masks.

    `right` `(n, 5)`: whether the answer of each rank may be given; fewer columns if there are fewer categories. `right_group`
    `(n,)`: whether rank 1 is in the SOC major group of a code that may be given. `accepted` `(n,)`: whether the decision was
    `accept`. `names_job` `(n,)`: whether any code may be given.
    """

    right: torch.Tensor
    right_group: torch.Tensor
    accepted: torch.Tensor
    names_job: torch.Tensor

    def __len__(self) -> int:
        return len(self.accepted)

    def select(self, mask: torch.Tensor) -> "Judgements":
        """Return the postings for which `mask` `(n,)` is true."""
        return Judgements(self.right[mask], self.right_group[mask], self.accepted[mask], self.names_job[mask])


def judge_answers(
    probabilities: torch.Tensor, decisions: Sequence[str], acceptable: torch.Tensor, codes: Sequence[str]
) -> Judgements:
    """Return the judgements on answers: probabilities `(n, c)` and n decisions.

    `acceptable` `(n, c)` marks the categories that may be answered, `codes` are those of the c categories. Of equal
    probabilities the first category leads.
    """
    best = probabilities.argsort(dim=1, descending=True, stable=True)[:, : max(TOPS)]  # (n, 5)
    groups = [soc_major(code) for code in codes]
    numbers = torch.tensor([sorted(set(groups)).index(group) for group in groups])  # (c,)
    # A row of `allowed` marks the categories whose group holds an acceptable one.
    of_group = torch.zeros(len(acceptable), len(set(groups))).index_add_(1, numbers, acceptable.float()) > 0
    allowed = of_group[:, numbers]
    return Judgements(
        right=acceptable.gather(1, best),
        right_group=allowed.gather(1, best[:, :1])[:, 0],
        accepted=torch.tensor([decision == "accept" for decision in decisions], dtype=torch.bool),
        names_job=acceptable.any(dim=1),
    )


def judged_figures(j: Judgements, *, seed: int) -> Figures:
    """Return the figures of judged postings, of which there is at least one, and their 95 % `intervals` by name.

    - `rows`, and of these `job_rows`, those that name a job, and `no_job_rows`. `accepted_rows`: accepted ones that name a job.
    - `top_1`, `top_3`, `top_5`: the share of the job rows for which one of the first answers may be given.
    - `accept_share`: the share of the job rows that is accepted. `accept_precision`: the share of these that is right.
    - `accept_wrong_group`: the share of these whose answer is in a SOC major group of no acceptable code.
    - `no_job_accept_share`: the share of the no-job rows that is accepted. Each is a mistake.

    A figure without rows is left out.
    """
    ratios = {name: ratio for name, ratio in _list_ratios(j).items() if bool(ratio[1].any())}
    counts = {"rows": len(j), "job_rows": int(j.names_job.sum()), "no_job_rows": int((~j.names_job).sum())}
    shares = {name: round(float(hits.double().sum() / base.double().sum()), 4) for name, (hits, base) in ratios.items()}
    accepted = {"accepted_rows": int((j.accepted & j.names_job).sum())}
    return {**counts, **accepted, **shares, "intervals": _bound_ratios(ratios, len(j), seed)}


def _list_ratios(j: Judgements) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return each figure as two masks `(n,)`: the rows that count as hits, and the rows that they are a share of."""
    accepted = j.accepted & j.names_job
    tops = {f"top_{top}": (j.right[:, :top].any(dim=1) & j.names_job, j.names_job) for top in TOPS}
    return {
        **tops,
        "accept_share": (accepted, j.names_job),
        "accept_precision": (accepted & j.right[:, 0], accepted),
        "accept_wrong_group": (accepted & ~j.right_group, accepted),
        "no_job_accept_share": (j.accepted & ~j.names_job, ~j.names_job),
    }


def _bound_ratios(ratios: dict[str, tuple[torch.Tensor, torch.Tensor]], rows: int, seed: int) -> dict[str, list[float]]:
    """Return 95 % bootstrap percentile intervals `[low, high]` over rows. A resample without a row for a figure has none."""
    if not ratios:
        return {}
    hits, bases = (torch.stack([ratio[side] for ratio in ratios.values()], dim=1).double() for side in (0, 1))  # (n, figures)
    drawn = torch.cat([(times @ hits) / (times @ bases) for times in draw_resamples(rows, seed=seed)])  # (rounds, figures)
    bounds = torch.nanquantile(drawn, BOUNDS, dim=0)  # (2, figures)
    return {name: [round(float(bound), 4) for bound in pair] for name, pair in zip(ratios, bounds.T, strict=True)}
