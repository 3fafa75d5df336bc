"""Keeps secrets out of what is printed: values of secret properties, and credentials inside addresses."""

import re
from collections.abc import Mapping

SECRET_WORDS = ("password", "passphrase", "secret", "key.pem", "jaas", "token", "oauthbearer.config", "credential", "user.info")
"""A property whose name holds one of these is secret."""
MASK = "***"
_IN_URL = re.compile(r"//\S*@")
_BEFORE_HOST = re.compile(r"(?<![/\w])[^\s/'\"=,(@:]+:(?!//)[^\s'\"]*@(?=[\w\[])")

_NAME = re.compile(r"([a-z]+(?:[._][a-z]+)*)(?:([: ]).*)?$", re.DOTALL)


def is_secret(name: str) -> bool:
    """Return whether the value of a property of this name must not be seen."""
    return any(word in name for word in SECRET_WORDS)


def mask_addresses(text: str) -> str:
    """Return text without the users and passwords of URLs, wherever they end: a password may hold any character but a space."""
    return _IN_URL.sub(f"//{MASK}@", text) if "@" in text else text


def mask_servers(text: str) -> str:
    """Return text about brokers without `user:password` before an `@`, with or without a scheme."""
    return _BEFORE_HOST.sub(f"{MASK}@", mask_addresses(text)) if "@" in text else text


def mask_pair(text: str) -> str:
    """Return what was meant as NAME=VALUE, quoted, with no more than the name; only MASK if no name can be told."""
    found = _NAME.match(text)
    return MASK if found is None else repr(found[1] + (f"{found[2]}{MASK}" if found[2] else ""))


def mask_value(name: str, value: object) -> object:
    """Return the value of a property as it may be printed."""
    if is_secret(name):
        return MASK
    return mask_servers(value) if isinstance(value, str) else value


def mask_values(text: str, properties: Mapping[str, object]) -> str:
    """Return text without the values of secret properties."""
    for name, value in properties.items():
        if is_secret(name) and value != "":
            text = text.replace(str(value), MASK)
    return mask_addresses(text)
