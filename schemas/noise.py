"""Tables of the words and phrases in a posting's title that do not name the job. `schemas/cleaning.py` applies them."""

import re

from schemas.job_words import split_words
from schemas.places import STATES


def _compile(*alternatives: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(alternatives)})", re.IGNORECASE)


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

_GOODS = "car|vehicle|transportation|tools|truck|van|auto|bike"
_ASKED = r"(?:required|needed|preferred|a must|is a must|provided)\b"
_DAY = "mon(?:day)?|tues?(?:day)?|wed(?:nesday)?|thu(?:r?s?|rsday)?|fri(?:day)?|sat(?:urday)?|sun(?:day)?"
_MINUTES = r"(?::[0-5]\d)?"
_HOUR_PAIR = rf"(?:(?:[6-9]|1[0-2]){_MINUTES}\s?[-\u2013]\s?[1-5]|1[0-2]{_MINUTES}\s?[-\u2013]\s?[6-9]|3-11|7-7){_MINUTES}"
_NOT_HOURS = "grade|teacher|math|science|class|year|age|month|axle|inch|person"

NUMBERS = _compile(
    rf"{_PAY_LEAD}[$€£]\s?{_AMOUNT}{_PER}?(?:\s?{_DASH}\s?[$€£]?\s?{_AMOUNT})?{_PER}?(?:\s(?:guaranteed|doe)\b)?",
    rf"{_PAY_LEAD}\d[\d,.]*k?(?:\s?{_DASH}\s?\d[\d,.]*k?)?\s?(?:/\s?|per |an )(?:hr|hour|yr|year|annum)\b",
    r"\d[\d,.]*k (?=sign|hiring|retention)",
    rf"{_NTH}(?:(?:, | & |/| and ){_NTH}){{0,2}} shifts?\b{_LEADS}",
    rf"(?:8|10|12)[- ]?(?:hours? )?shifts?\b{_LEADS}",
    rf"{_CLOCK} ?(?:{_DASH} ?{_CLOCK}\b|(?:start|shift)\b)",
    r"[34] ?x ?1[02]s?\b",
    r"401\(?k\)?(?: match)?(?= ?(?:[-+!,|]|$))",
    r"(?:(?:store|location|branch|restaurant|site|club|shop)\s?)?#\s?\d{2,}",
    r"(?:store|location|branch|restaurant|club|shop|site)s?\s(?:no\.?\s?|number\s|nr\.?\s?)?\d{2,}\b",
    r"ref(?:erence)?\.?\s?(?:id|no|number|code|nr|#)?[.:#]+\s?[a-z]{0,4}[-_]?\d[\w-]*",
    r"(?:req(?:uisition)?|job|posting|vacancy|position)\.?\s?(?:id|no|number|code|ref)\.?[.:#]?\s?[a-z]{0,5}[-_]?\d[\w-]*",
    r"(?<!-)(?:19|20)\d\d-\d{3,}\b",
    r"(?!iso|iec|en|din|as|api|nfpa|cip|ansi|ieee|o365)[a-z]{1,4}[-_]?\d{5,}\b",
    r"(?<= [-\u2013] )(?!(?:19|20)\d\d)\d{4}$",
    rf"{_HOUR_PAIR}(?![\w/.-])(?! ?(?:{_NOT_HOURS}))(?: only\b)?",
    r"\d{1,2}(?:\s?[-\u2013]\s?\d{1,2})?\+? ?(?:hrs?|hours?) ?(?:/|per |a )\s?(?:wk|week)\b",
    r"(?:must be )?(?:18|21)\+",
    r"[(\[](?:[a-z]{0,4}[-_]?\d{3,}(?:br)?|\d{4}-\d{4})[)\]]",
    r"(?:req(?:uisition)?|job|posting)\.?\s?(?:id|no|number|#)?[.:#]?\s?[a-z]{0,2}-?\d{3,}\b",
    r"(?:jr[-_ ]?|r[-_]?|req[-_]?)\d{4,}\b",
    r"id[.:#]+\s?[a-z]{0,4}-?\d{3,}\b",
    r"24/7\b",
    r"\d+\+?(?:\s?[-\u2013]\s?\d+)?\+? ?(?:years?|yrs?)(?:' ?)?(?: of)? exp(?:erience)?(?: (?:required|needed|preferred))?\b",
    r"(?<![\w$€£.])(?<!iso[ -])(?:\d{4,}br|\d{2}-\d{4,}|\d{5,}(?:-\d+)?)(?![\w.%])",
)
"""Pay, clock times and requisition ids. They are searched for only in titles with a digit."""

PHRASES = _compile(
    r"(?:full|part)(?:[- ]?time)?(?: or | and |/| & )(?:full|part)[- ]?time\b",
    r"(?:full|part)[- ]?time\b",
    r"per[- ]?diem\b|prn\b|ft ?/ ?pt\b|pt ?/ ?ft\b",
    rf"(?:must have |requires? |with |use )?(?:your |an? )?own (?:{_GOODS})\b(?:,? (?:and|&) (?:{_GOODS})\b)?(?: {_ASKED})?",
    rf"(?:car|vehicle|(?:valid )?(?:driver'?s?'? )?licen[sc]e|transportation) {_ASKED}",
    r"no (?:nights|weekends|evenings|holidays|cold calling)(?:,? (?:or|and|&) (?:nights|weekends|evenings|holidays))?\b",
    r"(?:lots of |plenty of |unlimited |paid |plus |with |mandatory )*(?:ot|overtime) (?:available|paid|offered|included)\b",
    r"am ?/ ?pm\b",
    r"m ?[-\u2013] ?(?:f|th|sat)\b",
    rf"(?:{_DAY})s?\s?(?:-|\u2013|/|&|to|thru|through|and)\s?(?:{_DAY})s?(?!\w)",
    r"(?:help )?(?:wanted|needed)(?: (?:asap|now|urgently|immediately))?!*$",
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
    r"[(\[]?(?<!\w)(?:[mfwdxh](?: ?[/|] ?(?:[mfwdxi]|div|gn)){2,4}|m ?[/|] ?[fw]|[fw] ?[/|] ?m|h ?/ ?f|f ?/ ?h)(?![\w/])[)\]]?",
    r"[(\[](?:[mfwdx](?:[ ,.*:-]{1,3}(?:[mfwdx]|div)){1,3}|mwd|wmd|mfd|fmd|mfx|gn|d/?i/?v)[)\]]",
    r"[(\[]?(?<!\w)all genders?(?: welcome)?(?!\w)[)\]]?",
    r"[(\[](?:USA?|United States|UK|Canada)[)\]]",
)
"""Hours, place of work, advertising and tags. They are noise wherever they stand."""

PHRASE_WORDS = split_words(
    "time diem prn ft pt shift shifts remote hybrid home wfh telecommute telecommuting telework bonus bonuses sign signing "
    "hiring hire referral retention needed need opening openings immediate immediately urgent urgently start apply join exp "
    "experience training train pay benefits paid available own flexible m f w d x h genders us usa uk united canada mon monday "
    "mondays tue tues tuesday wed wednesday thu thur thurs thursday fri friday sat saturday sun sunday own no car vehicle "
    "license licence transportation overtime ot am wanted mwd wmd mfd fmd mfx gn div"
)
"""Words of which every phrase holds at least one. A title without any of them is not searched for phrases, which takes longer."""

_LEGAL_FORM = r"(?!CO\b)(?i:inc|llc|l\.l\.c|ltd|llp|pllc|lp|pc|p\.c|corp|co|gmbh|s\.a)\b"
SEPARATOR = re.compile(  # of plain text: no two spaces meet
    rf"( (?:(?i:at|in)(?= )|[@+&](?= )|[-\u2013\u2014]+|,(?! ?{_LEGAL_FORM})|[()\[\]|/;:!*…]+) ?"
    rf"|[-\u2013\u2014]+ |,(?! ?{_LEGAL_FORM}) ?|[()\[\]|/;:!*…]+ ?|[-\u2013](?=(?i:ft|pt|prn)\b))"
)
EMPLOYER_FOLLOWS = re.compile(r",|\||[-\u2013\u2014] |@|\bat\b", re.IGNORECASE)
EMPLOYER_ENDS = split_words(
    "inc llc l.l.c ltd llp pllc lp pc plc corp corporation co company companies gmbh hospital hospitals university college "
    "group bank industries airlines holdings enterprises foundation isd institute church authority commission association "
    "consultants district county technologies restaurants hotels casino railroad"
)
EMPLOYER_STARTS = frozenset(("university of", "city of", "county of", "state of", "united states", "us army", "us navy"))
WORKING_BANKS = split_words("blood food eye tissue milk sperm data")

HOUR_WORDS = split_words(
    "ft pt prn days nights evenings weekend weekends weekday weekdays available overnight overnights noc nocs shift shifts "
    "remote remotely hybrid onsite on-site"
)
FILLER_WORDS = STATES | split_words(
    "night day evening morning mornings hours hour hrs only flexible or and & + to with the us usa u.s. uk first second third "
    "1st 2nd 3rd am pm mid rotating variable various eligible optional position opportunity 12 8 10 24 36 40 potential in from "
    "based residents full part time locations location nationwide work job role anywhere paid daily weekly"
)
"""A part of a title that holds only these words and those of `HOUR_WORDS` is noise."""

LEADING_NOISE = split_words("remote telecommute ft pt prn")
TRAILING_NOISE = split_words("remote hybrid onsite nights overnights weekends ft pt prn")
KEPT_BEFORE = {
    "remote": split_words(
        "sensing pilot pilots encoding operations broadcast camera monitor monitoring control controls site operated"
    ),
    "ft": split_words("worth lauderdale myers collins wayne smith bragg hood knox"),
}
"""The words after a word of `LEADING_NOISE` that make it part of the job's name, or of a town's."""

_EAGER = (
    "an?|the|our|your|next|new|another|more|several|multiple|experienced|motivated|energetic|reliable|friendly|passionate|dedicated|"
    "talented|enthusiastic|skilled|qualified|dynamic|hard[- ]?working|outgoing|full|part|time|full-time|part-time|immediate"
)
_NOW = r"(?:(?:we're|we are|is|now|currently|urgently|immediately|actively)\s+)"
LEAD_IN = re.compile(
    r"[\W_]*(?:"
    r"(?:(?:opportunity|position|role|job|title|new|job title)\s*[:!]+"
    r"|(?:hot job|featured|urgent(?:ly)?(?: (?:need|requirement|hiring|opening))?|vacancy|job (?:opening|vacancy|alert)"
    r"|wanted|needed|(?:now )?hiring|apply (?:now|today)|immediate (?:hire|need|opening)|help wanted)"
    r"(?:\s*[:!]+|\s[-\u2013\u2014]+\s))\s*"
    rf"|{_NOW}*(?:seeking|looking for|in need of|in search of)\s+(?:to hire\s+)?"
    rf"|{_NOW}+(?:hiring|recruiting)[:!]*\s+(?:for\s+)?"
    r"|(?:(?:immediate|exciting|great|new|multiple|current|amazing|excellent|urgent)\s+)*"
    r"(?:job opening|opening|opportunit(?:y|ie)|vacanc(?:y|ie)|position|job|role)s?\s+(?:available\s+)?(?:for|as)\s+"
    r"|(?:come )?(?:join|be part of)\s+(?:us|(?:our|the|a)(?:\s+\w+){0,3}?\s+(?:team|family|crew))\s+as\s+"
    r"|(?:become|be|work as)\s+(?=(?:an?|our)\b)"
    r"|help wanted[:!]*\s+"
    rf")(?:(?:{_EAGER}),?\s+)*",
    re.IGNORECASE,
)
"""Advertising in front of a job: "Seeking an experienced", "Join our team as a", "Urgent:"."""
LEAD_WORDS = split_words(
    "hot featured urgent urgently new vacancy vacancies job jobs opportunity opportunities position positions role wanted "
    "needed hiring now apply immediate immediately help we is currently actively seeking looking in exciting great multiple "
    "current amazing excellent come join be become work title opening openings"
)
"""The first words of every LEAD_IN."""
BARE_WORDS = split_words(
    "architect engineer developer manager consultant technician chef teacher director specialist analyst instructor professor "
    "administrator coordinator supervisor operator mechanic designer programmer tester scientist inspector trainer coach tutor "
    "editor writer planner estimator installer lead leader professional advisor adviser therapist technologist interpreter "
    "translator attendant clerk representative senior junior sr jr principal staff assistant associate head executive chief i "
    "ii iii iv of the"
)
"""Roles and ranks that say nothing of the trade: after them, a comma parts the specialty, not the employer."""
