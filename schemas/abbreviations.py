"""Abbreviations of job titles with one meaning. Those whose meaning the rest of the title decides are in `short_forms.txt`."""


def _parse(text: str) -> dict[str, str]:
    return dict(entry.strip().split(": ", 1) for line in text.strip().splitlines() for entry in line.split("|"))


ABBREVIATIONS = _parse(
    """
rn: registered nurse | rns: registered nurses | fnp: family nurse practitioner
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
acctnt: accountant | secy: secretary | sec'y: secretary | supt: superintendent | purch: purchasing | anlst: analyst
ofcr: officer | tchr: teacher | wkr: worker | drvr: driver | bkpr: bookkeeper | bkkpr: bookkeeper | atty: attorney
sgt: sergeant | capt: captain | whse: warehouse | wrhs: warehouse | recpt: receptionist | recep: receptionist
cust: customer | serv: service | intl: international | int'l: international | natl: national | nat'l: national
govt: government | gov't: government | equip: equipment | constr: construction | engg: engineering | mgt: management
mngmt: management | mgrs: managers | engrs: engineers | assc: associate | trng: training | agt: agent
refrig: refrigeration | prgmr: programmer | sysadmin: systems administrator | opr: operator | clk: clerk
hskpr: housekeeper | hskpg: housekeeping | stna: state tested nursing assistant | hha: home health aide
rdh: registered dental hygienist | rph: pharmacist | cpht: certified pharmacy technician
lmsw: licensed master social worker | lmft: licensed marriage and family therapist | lpc: licensed professional counselor
lmhc: licensed mental health counselor | bht: behavioral health technician | adon: assistant director of nursing
mlo: mortgage loan officer | sdet: software development engineer in test | bdm: business development manager
agm: assistant general manager
"""
)
"""Abbreviations with one meaning, however they are written, folded."""
