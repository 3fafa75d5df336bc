"""The names under which publishers send the fields of a posting, best first. Only data: `fields.py` looks them up.

A name is here if it can mean only one thing. Names that mean different things in different feeds belong to a profile.
"""

from collections.abc import Mapping
from types import MappingProxyType

NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "posting_id": (
            *("posting_id", "ID", "id", "postingId", "job_id", "jobId", "JOB_ID", "uuid", "jobPostingId", "job_posting_id"),
            *("posting_uuid", "vacancy_id", "vacancyId", "MatchedObjectId", "jobReqId", "jobkey", "identifier", "_id"),
        ),
        # A feed that has `title_raw` may have the code of a taxonomy under `title`.
        "title": (
            *("title_raw", "TITLE_RAW", "title", "TITLE", "Title", "job_title", "jobTitle", "JOB_TITLE", "JobTitle", "Job Title"),
            *("jobtitle", "posting_title", "postingTitle", "jobPostingTitle", "job_posting_title", "vacancy_title"),
            *("vacancyTitle", "PositionTitle", "positionTitle", "position_title", "headline", "intitule", "intitulé"),
            *("titel", "titre", "titulo", "título", "titolo", "tittel", "stellenbezeichnung", "stellentitel", "jobtitel"),
            *("functietitel", "stillingstittel", "title_name", "TITLE_NAME", "positionName", "position_name", "vacancyName"),
            *("vacancy_name", "roleTitle", "role_title", "position", "stanowisko", "puesto"),
        ),
        "body": (
            *("body", "BODY", "Body", "descriptionPlain", "description_plain", "descriptionText", "description_text"),
            *("description", "DESCRIPTION", "Description", "job_description", "jobDescription", "JOB_DESCRIPTION"),
            *("JobDescription", "Job Description", "jobdescription", "posting_body", "descriptionHtml", "description_html"),
            *("fullDescription", "full_description", "positionDescription", "position_description", "roleDescription"),
            *("role_description", "vacancyDescription", "vacancy_description", "beschreibung", "stellenbeschreibung"),
            *("omschrijving", "functieomschrijving", "descripcion", "descripción", "descricao", "descrição", "descrizione"),
            *("descriptif", "beskrivning", "beskrivelse", "content", "contentHtml", "content_html"),
        ),
        # A feed that has `company_name` may have the number of a company under `company`.
        "company": (
            *("company_name", "COMPANY_NAME", "companyName", "company", "COMPANY", "Company", "employer_name", "employerName"),
            *("employer", "EMPLOYER", "Employer", "hiringOrganization", "OrganizationName", "organization_name"),
        ),
        "location": (
            *("location_name", "LOCATION_NAME", "CITY_NAME", "city_name", "location", "LOCATION", "Location", "job_location"),
            *("jobLocation", "PositionLocationDisplay"),
        ),
        "posted_at": (
            *("posted_at", "POSTED", "posted", "postedAt", "date_posted", "datePosted", "DATE_POSTED", "posted_date"),
            *(
                "postedDate",
                "publishedAt",
                "published_at",
                "publication_date",
                "publicationDate",
                "PublicationStartDate",
                "dateCreation",
            ),
            "date",
        ),
        "language": ("language", "LANGUAGE", "Language", "lang", "inLanguage"),
        "allowed_codes": ("allowed_codes", "allowedCodes"),
    }
)
"""Each field of `JobPosting` with its names. Where a message has several of them, the first that holds something counts."""
