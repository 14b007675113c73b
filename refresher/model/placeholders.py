"""What stands in the place of a value, and is none: a template, a mask, a word that says that there is nothing.

People paste such texts, and gateways put them into answers. There is no shortest token: one letter may be one. What
consists of words that tell nothing, of no letter or digit, or of one of them over and over, no server ever issued.
"""

import re

_TEMPLATE = re.compile(
    r"<[^<>]*>|\$\{.*\}|\$\(.*\)|\{\{.*\}\}|%[A-Za-z_]+%|\$[A-Z_]{2,}|\[[A-Za-z _-]+\]|\*{3,}|\u2022{3,}",
    re.DOTALL,
)
_IN_BRACKETS = re.compile(r"[$#@%]?(\[[^\"]*\]|\{[^\"]*\}|\([^\"]*\))", re.DOTALL)
_MASKED_IN_PART = re.compile(r"\*{3,}|\u2022{3,}|\.{3,}|\u2026")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_]+")
_SHORTENED = frozenset({"na", "nil", "none", "null"})
"""What is written with strokes or dots in it, like n/a."""
_NOTHING_THERE = "null none nil undefined nan void empty blank unset unknown missing true false not set available"
_NOT_SHOWN = (
    "redacted hidden masked mask removed filtered omitted obfuscated sanitized sanitised scrubbed suppressed stripped "
    "deleted withheld protected confidential sensitive private censored encrypted elided anonymized anonymised shown"
)
_TO_BE_WRITTEN = "placeholder example sample dummy change replace changeme replaceme todo tbd insert your my the here"
_NAMES = (
    "access refresh client id token tokens secret password user username name jwt key file data value string bearer "
    "servicenow accesstoken refreshtoken by for of reasons security policy gateway proxy waf applicable"
)
_WORDS = frozenset(f"{_NOTHING_THERE} {_NOT_SHOWN} {_TO_BE_WRITTEN} {_NAMES}".split())


def is_template(text: str) -> bool:
    """Whether it is a mask or a variable as a whole, as no value is, not even a password that somebody made up."""
    return _TEMPLATE.fullmatch(text) is not None


def is_placeholder(text: str) -> bool:
    """Whether it cannot be what a server made up; a password may be so."""
    if is_template(text) or _IN_BRACKETS.fullmatch(text) or _MASKED_IN_PART.search(text):
        return True
    signs = [sign for sign in text.lower() if sign.isalnum()]
    if len(signs) > 2 and len(set(signs)) == 1:  # noqa: PLR2004 - two equal signs are chance
        return True
    return "".join(signs) in _SHORTENED or {word.lower() for word in _WORD.findall(text)} <= _WORDS
