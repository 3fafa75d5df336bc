"""The hierarchy of the Standard Occupational Classification (SOC 2018), which O*NET-SOC codes such as 29-1141.00 extend."""

MAJOR_GROUPS: dict[str, str] = {
    "11": "Management",
    "13": "Business and Financial Operations",
    "15": "Computer and Mathematical",
    "17": "Architecture and Engineering",
    "19": "Life, Physical, and Social Science",
    "21": "Community and Social Service",
    "23": "Legal",
    "25": "Educational Instruction and Library",
    "27": "Arts, Design, Entertainment, Sports, and Media",
    "29": "Healthcare Practitioners and Technical",
    "31": "Healthcare Support",
    "33": "Protective Service",
    "35": "Food Preparation and Serving Related",
    "37": "Building and Grounds Cleaning and Maintenance",
    "39": "Personal Care and Service",
    "41": "Sales and Related",
    "43": "Office and Administrative Support",
    "45": "Farming, Fishing, and Forestry",
    "47": "Construction and Extraction",
    "49": "Installation, Maintenance, and Repair",
    "51": "Production",
    "53": "Transportation and Material Moving",
    "55": "Military Specific",
}
"""Titles of the 23 major groups by their two digits, without the word "Occupations" that ends each."""

LEVELS: tuple[tuple[str, int], ...] = (
    ("O*NET-SOC code", 10),
    ("detailed occupation, 6 digits", 7),
    ("broad occupation, 5 digits", 6),
    ("minor group, 3 digits", 4),
    ("major group, 2 digits", 2),
)
"""Each level's name and the leading characters of a code that codes of one group share.

A few minor groups of SOC 2018 (15-1200, 31-1100, 51-5100) have a fourth digit: here they are taken by three.
"""
