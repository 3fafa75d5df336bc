"""The words of O*NET's titles: which words belong to jobs, and which of them name one, as "cook" and "nurse" do.

What follows from them is decided in `cleaning.py`, `places.py`, `short_forms.py`, `spelling.py` and `no_job.py`.
"""

from collections.abc import Collection
from importlib import resources


def split_words(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


def read_words(name: str) -> frozenset[str]:
    """Return the words of a file of this package, one a line."""
    return split_words(resources.files("schemas").joinpath(name).read_text(encoding="ascii"))


JOB_WORDS = read_words("job_words.txt")
"""The words of O*NET 29.3's occupation titles, and those in at least two of its other job titles."""
ROLE_WORDS = read_words("role_words.txt")
"""The words with which O*NET's job titles end, if they mostly stand there: they name a job by themselves."""
ROLE_ABBREVIATIONS = split_words(
    "rn rns lpn lpns lvn cna cnas crna fnp aprn pmhnp slp cota pta emt rbt bcba lcsw cpa ceo cfo coo cto cio mgr supv supvr rep "
    "reps engr coord asst dir prof"
)
"""Abbreviations with one meaning that name a job by themselves."""
SMALL_WORDS = split_words("a an and at by for from in of on or the to with")
"""Words that do not count when job words are counted."""

RANK_WORDS = split_words(
    "assistant associate chief coordinator director executive head intern lead leader manager member officer owner president "
    "principal professional provider representative specialist supervisor trainee worker technician tech mgr supv supvr rep "
    "reps coord asst dir"
)
"""Role words that stand in clinics and in trades alike: they do not tell one from the other."""
CLINIC_WORDS = split_words(
    "hospitalist hospitalists radiologist cardiologist psychiatrist pediatrician anesthesiologist dermatologist neurologist "
    "oncologist urologist pathologist dentist intensivist internist practitioner optometrist acute ambulatory anesthesia "
    "assisted behavioral cardiac cardiology cardiovascular care clinic clinical clinics dental dermatology dialysis doctor "
    "emergency er gastroenterology geriatric gyn gynecology health healthcare hematology hospice hospital hospitals icu imaging "
    "inpatient lab laboratory licensed living ltc medical medicine midwife mri neonatal nephrology neuro neurology neurosurgery "
    "nicu nurse nurses nursing obgyn oncology ophthalmology orthopaedic orthopedic orthopedics ortho outpatient patient "
    "patients pediatric pediatrics peds pharmacy phlebotomist phlebotomy physician physicians picu primary psych psychiatric "
    "psychiatry pulmonary radiology rehab rehabilitation respiratory snf surgeon surgery surgical telemetry therapist "
    "therapists therapy trauma urgent urology wellness rn lpn lvn cna crna emt paramedic pta cota slp"
)
"""Words of the places and professions of health care."""


def is_role(word: str) -> bool:
    """Return whether a folded word names a job by itself, be it one or several: "cook", "cooks"."""
    return word in ROLE_WORDS or (word.endswith("s") and word[:-1] in ROLE_WORDS) or word in ROLE_ABBREVIATIONS


def names_job(words: Collection[str]) -> bool:
    """Return whether one of the folded words names a job by itself."""
    return any(map(is_role, words))


def names_trade(words: Collection[str]) -> bool:
    """Return whether one of the folded words names a job of no clinic and of no rank."""
    return any(is_role(word) and word not in RANK_WORDS and word not in CLINIC_WORDS for word in words)


def names_clinic(words: Collection[str]) -> bool:
    """Return whether one of the folded words belongs to health care."""
    return not CLINIC_WORDS.isdisjoint(words)
