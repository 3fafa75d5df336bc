"""Tables of the words and phrases in a posting's title that do not name the job. `schemas/cleaning.py` applies them."""

import re
from importlib import resources


def _compile(*alternatives: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(alternatives)})", re.IGNORECASE)


def _split(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _parse(text: str) -> dict[str, str]:
    return dict(entry.strip().split(": ", 1) for line in text.strip().splitlines() for entry in line.split("|"))


_DASH = r"(?:-|\u2013|to)"
_AMOUNT = r"\d[\d,.]*\s?k?\b\+?"
_UNIT = r"(?:hr|hour|wk|week|mo|month|yr|year|day|annum|mile|shift|visit)s?\b"
_PER = rf"(?:\s?hr\b|\s*(?:per|an?|/)\s?{_UNIT}|\s?(?:weekly|hourly|annually|daily)\b)"
_PAY_WORDS = r"while|make|earn(?:ing)?|pays?|paying|pay rate|salary|starting(?: at| pay| from)?|starts? at|up to|from|at least"
_PAY_LEAD = rf"(?:\b(?:(?:{_PAY_WORDS}|average|avg|over|plus)\s?:?\s+)++(?:an? )?)?"
_CLOCK = r"\d{1,2}(?::\d\d)? ?[ap]m?"
_NTH = r"[123](?:st|nd|rd)"
_LEADS = r"(?! (?:supervisor|manager|lead|leader|foreman|worker|engineer|superintendent|captain|commander|coordinator)\b)"
_WHEN = r"(?:\d\d? hour )?(?:day|night|evening|morning|afternoon|overnight|weekend|weekday|swing|graveyard|rotating|flexible|all)"

NUMBERS = _compile(
    rf"{_PAY_LEAD}[$€£]\s?{_AMOUNT}{_PER}?(?:\s?{_DASH}\s?[$€£]?\s?{_AMOUNT})?{_PER}?(?:\s(?:guaranteed|doe)\b)?",
    rf"{_PAY_LEAD}\d[\d,.]*k?(?:\s?{_DASH}\s?\d[\d,.]*k?)?\s?(?:/\s?|per |an )(?:hr|hour|yr|year|annum)\b",
    r"\d[\d,.]*k (?=sign|hiring|retention)",
    rf"{_NTH}(?:(?:, | & |/| and ){_NTH}){{0,2}} shifts?\b{_LEADS}",
    rf"(?:8|10|12)[- ]?(?:hours? )?shifts?\b{_LEADS}",
    rf"{_CLOCK} ?(?:{_DASH} ?{_CLOCK}\b|(?:start|shift)\b)",
    r"[34] ?x ?1[02]s?\b",
    r"401\(?k\)?(?: match)?(?= ?(?:[-+!,|]|$))",
    r"(?:store\s?)?#\s?\d{2,}",
    r"[(\[](?:[a-z]{0,4}[-_]?\d{3,}(?:br)?|\d{4}-\d{4})[)\]]",
    r"(?:req(?:uisition)?|job|posting)\.?\s?(?:id|no|number|#)?[.:#]?\s?[a-z]{0,2}-?\d{3,}\b",
    r"(?:jr|r|req)[-_]?\d{4,}\b",
    r"(?<![\w$€£.])(?<!iso )(?:\d{4,}br|\d{2}-\d{4,}|\d{5,}(?:-\d+)?)(?![\w.%])",
)
"""Pay, clock times and requisition ids. They are searched for only in titles with a digit."""

PHRASES = _compile(
    r"(?:full|part)(?:[- ]?time)?(?: or | and |/| & )(?:full|part)[- ]?time\b",
    r"(?:full|part)[- ]?time\b",
    r"per[- ]?diem\b|prn\b|ft ?/ ?pt\b|pt ?/ ?ft\b",
    r"m ?[-\u2013] ?f\b",
    r"mon(?:day)?s?\s?(?:-|\u2013|to|through)\s?(?:fri|thu|sat|sun)[a-z]*\b",
    rf"(?:first|second|third|{_WHEN}) shifts?\b{_LEADS}",
    r"(?:remote )?(?:work(?:ing)? (?:from|at) home|work[- ]from[- ]home|wfh|telecommut(?:e|ing)|telework)\b",
    r"(?:100% |fully |partially )?(?:remote|hybrid) (?:work|position|job|role|opportunity|eligible|potential)\b",
    r"100% remote\b|remote (?:only|based|nationwide|usa?)\b",
    r"(?:sign(?:ing)?[- ]?on|signing|hiring|retention|referral) bonus(?:es)?\b(?: (?:maybe |may be )?available)?",
    r"(?<!single )sign[- ]?on$",
    r"(?:we're |we are |is |now |direct |urgent(?:ly)? |immediate(?:ly)? )+(?:hiring|hire|need(?:ed)?|openings?)\b(?: now)?",
    r"hiring (?:now|immediately|asap|event|fair)\b(?: \d\d?/\d\d?)?",
    r"immediate (?:start|interview)s?\b",
    r"(?:start(?: (?:working|delivering))?|apply|sign up) (?:today|now|immediately|tomorrow|asap|in \d+ seconds)\b",
    r"no (?:prior |previous )?exp(?:erience)? (?:needed|necessary|required)\b|paid training\b|will train\b|come join us\b",
    r"(?:great|excellent|competitive|full|good|tons of|medical|dental|medical (?:and|&) dental) (?:pay|benefits)\b"
    r"(?: (?:and|&|\+) (?:pay|benefits)\b)?(?= ?(?:[-+!,|)]|$))",
    r"(?:weekly pay|paid (?:daily|weekly)|paid time off|bonus(?:es)? available)\b",
    r"home (?:daily|weekly|biweekly|weekends|every (?:day|week|weekend)|most nights)\b",
    r"(?:set|choose|make) your own (?:schedule|hours)\b|flexible (?:schedul(?:e|es|ing)|hours)\b(?: available)?",
    r"(?:multiple (?:positions|routes|shifts|locations|openings)|positions?) available\b",
    r"[(\[]?(?<!\w)(?:[mfwdxh] ?[/|] ?[mfwdxh](?: ?[/|] ?(?:[mfwdx]|div))?|all genders)(?!\w)[)\]]?",
    r"[(\[](?:USA?|United States|UK|Canada)[)\]]",
)
"""Hours, place of work, advertising and tags. They are noise wherever they stand."""

PHRASE_WORDS = _split(
    "time diem prn ft pt shift shifts remote hybrid home wfh telecommute telecommuting telework bonus bonuses sign signing "
    "hiring hire referral retention needed need opening openings immediate immediately urgent urgently start apply join exp "
    "experience training train pay benefits paid available own flexible m f w d x h genders us usa uk united canada "
    "mon monday mondays"
)
"""Words of which every phrase holds at least one. A title without any of them is not searched for phrases, which takes longer."""

_LEGAL_FORM = r"(?i:inc|llc|l\.l\.c|ltd|llp|pllc|lp|pc|p\.c|corp|co|gmbh|s\.a)\b"
SEPARATOR = re.compile(  # of plain text: no two spaces meet
    rf"( (?:(?i:at|in)(?= )|[@+&](?= )|[-\u2013\u2014]+|,(?! ?{_LEGAL_FORM})|[()\[\]|/;:!*…]+) ?"
    rf"|[-\u2013\u2014]+ |,(?! ?{_LEGAL_FORM}) ?|[()\[\]|/;:!*…]+ ?|[-\u2013](?=(?i:ft|pt|prn)\b))"
)
EMPLOYER_FOLLOWS = re.compile(r",|\||[-\u2013\u2014] |@|\bat\b", re.IGNORECASE)
EMPLOYER_ENDS = _split(
    "inc llc l.l.c ltd llp pllc lp pc plc corp corporation co company companies gmbh hospital hospitals university college group "
    "bank industries airlines holdings enterprises foundation isd institute church authority commission association consultants "
    "district county technologies restaurants hotels casino railroad"
)
EMPLOYER_STARTS = frozenset(("university of", "city of", "county of", "state of", "united states", "us army", "us navy"))
WORKING_BANKS = _split("blood food eye tissue milk sperm data")

STATES = _split(
    "alabama alaska arizona arkansas california colorado connecticut delaware florida georgia hawaii idaho illinois indiana iowa "
    "kansas kentucky louisiana maine maryland massachusetts michigan minnesota mississippi missouri montana nebraska nevada ohio "
    "oklahoma oregon pennsylvania tennessee texas utah vermont virginia washington wisconsin wyoming"
)
SURE_STATE_CODES = _split("AK AZ CA FL GA IA IL KS KY MI MN MO NC NH NJ NM NV NY OH RI SC SD TN TX UT WA WI WV WY")
"""State codes that mean nothing else in a title."""
STATE_CODES = SURE_STATE_CODES | _split("AL AR CO CT DC DE HI ID IN LA MA MD ME MS MT ND NE OK OR PA VA VT")
"""All state codes. The others also stand for something else, as in CT scans and OR (operating room) nurses."""
PLACES = STATES | frozenset(
    place.strip()
    for line in """
new hampshire|new jersey|new mexico|new york|north carolina|north dakota|rhode island|south carolina|south dakota|west virginia
us|usa|u.s.|u.s.a.|united states|uk|united kingdom|canada|india|singapore
london|paris|berlin|munich|dublin|toronto|sydney|melbourne|new york city|nyc
los angeles|san francisco|san diego|san antonio|san jose|philadelphia|washington dc|chicago|houston
dallas|austin|boston|seattle|denver|atlanta|miami|phoenix|bangalore|bengaluru|hyderabad|mumbai
""".strip().splitlines()
    for place in line.split("|")
)
FIELD_OF_WORK = re.compile(  # "Manager, Marketing, CA": here the part before a state is not a town
    r"(?:ions?|ance|ogy|ics|ment|keting|eering|sing|ting|(?:^|\W)(?:sales|surgery|pharmacy|emergency|care|services?|health|medicine|"
    r"family|adult|support|therapy|security|it|hr|er|icu|legal|tax|audit|data|lab|rn|lpn|room|cardio|nurse|radiology))$",
    re.IGNORECASE,
)

HOUR_WORDS = _split(
    "ft pt prn days nights evenings weekend weekends weekday weekdays available overnight overnights noc nocs shift shifts "
    "remote remotely hybrid onsite on-site"
)
FILLER_WORDS = STATES | _split(
    "night day evening morning mornings hours hour hrs only flexible or and & + to with the us usa u.s. uk first second third "
    "1st 2nd 3rd am pm mid rotating variable various eligible optional position opportunity 12 8 10 24 36 40 potential in "
    "from based residents full part time locations location nationwide work job role anywhere paid daily weekly"
)
"""A part of a title that holds only these words and those of `HOUR_WORDS` is noise."""

LEADING_NOISE = _split("remote telecommute ft pt prn")
TRAILING_NOISE = _split("remote hybrid onsite nights overnights weekends ft pt prn")
HELPER_WORDS = _split("aide attendant assistant tech technician")
KEPT_BEFORE = {
    "remote": _split(
        "sensing pilot pilots encoding operations broadcast camera monitor monitoring control controls site operated"
    ),
    "ft": _split("worth lauderdale myers collins wayne smith bragg hood knox"),
    "pt": HELPER_WORDS,
}
"""The words after a word of `LEADING_NOISE` that make it part of the job's name, or of a town's."""

ABBREVIATIONS = _parse(
    """
rn: registered nurse | rns: registered nurses | np: nurse practitioner | fnp: family nurse practitioner
lpn: licensed practical nurse | lvn: licensed vocational nurse
cna: certified nursing assistant | cnas: certified nursing assistants
crna: certified registered nurse anesthetist | pmhnp: psychiatric mental health nurse practitioner | pa-c: physician assistant
aprn: advanced practice registered nurse | slp: speech language pathologist | cota: certified occupational therapy assistant
pta: physical therapist assistant | emt: emergency medical technician | rbt: registered behavior technician
bcba: board certified behavior analyst | lcsw: licensed clinical social worker | cpa: certified public accountant
ceo: chief executive officer | cfo: chief financial officer | coo: chief operating officer | cto: chief technology officer
cio: chief information officer | svp: senior vice president | evp: executive vice president | avp: assistant vice president
vp: vice president | sr: senior | snr: senior | jr: junior | asst: assistant | assoc: associate | mgr: manager | mngr: manager
dir: director | supv: supervisor | supvr: supervisor | coord: coordinator | rep: representative | reps: representatives
engr: engineer | prof: professor | maint: maintenance | mfg: manufacturing | mktg: marketing | mgmt: management
acctg: accounting | svc: service | svcs: services | dept: department | hr: human resources | qa: quality assurance
ux: user experience | ui: user interface | bdr: business development representative
"""
)
"""Abbreviations with one meaning, however they are written."""
CAPITAL_FORMS = _parse("IT: information technology | DBA: database administrator | SWE: software engineer")
"""Abbreviations only if written in capitals."""
LAST_WORD_FORMS = _parse(
    "tech: technician | techs: technicians | admin: administrator | dev: developer | eng: engineer | exec: executive"
)
"""Abbreviations only as the last word of a part."""
STANDALONE_FORMS = _parse(
    """
PT: physical therapist | OT: occupational therapist | PA: physician assistant | MA: medical assistant
CSR: customer service representative | SDR: sales development representative
"""
)
"""Abbreviations only as a whole part, or beside certain words."""
SHORT_FORMS = frozenset(
    word.casefold() for table in (ABBREVIATIONS, CAPITAL_FORMS, LAST_WORD_FORMS, STANDALONE_FORMS) for word in table
)
"""Every word that may be replaced by a long form."""
CLINICAL_WORDS = _split(
    "travel outpatient inpatient pediatric licensed certified staff school acute rehab snf surgical orthopedic dermatology"
)
NOT_BEFORE_LAST_WORD = _split("high business info information ed bio it")
"""The words after which `LAST_WORD_FORMS` do not hold: "High Tech" is not a technician."""

JOB_WORDS = frozenset(resources.files("schemas").joinpath("job_words.txt").read_text(encoding="ascii").split())
"""The words of O*NET 29.3's occupation titles, and those in at least two of its other job titles."""
SMALL_WORDS = _split("a an and at by for from in of on or the to with")
"""Words that do not count when job words are counted."""
