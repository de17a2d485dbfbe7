"""Writes `unicode_14.txt`: how CPython 3.11 (Unicode 14.0) classes every character, and, in the
bits above 8, how the `regex` package does, which NLTK matches with.

    python3.11 -m pip install regex
    python3.11 unicode_14.py > unicode_14.txt

A line is where a run of one class begins and the class, both hexadecimal. The bits are named in
`class.rs`.
"""

import re
import regex
import sys
import unicodedata

BITS = [
    str.isalpha,
    re.compile(r"\w").match,
    re.compile(r"\s").match,
    str.isdigit,
    str.isupper,
    str.islower,
    str.istitle,
    lambda c: unicodedata.category(c) != "Cn",
    regex.compile(r"\w").match,
    regex.compile(r"\s").match,
    re.compile(r"\d").match,
    regex.compile(r"\d").match,
]


def class_of(c: str) -> int:
    bits = sum(1 << i for i, test in enumerate(BITS) if test(c))
    # `istitle` of a string is also true of a capital letter.
    return bits & ~(1 << 6) if c.isupper() else bits


previous = None
for code in range(sys.maxunicode + 1):
    found = class_of(chr(code))
    if found != previous:
        print(f"{code:x} {found:x}")
        previous = found
