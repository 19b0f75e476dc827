"""Patterns of personal data: what looks like an address, a number or an account of somebody.

Patterns see the form and not the meaning: `looks like a phone number` is all that they say. Numbers that carry a check
(cards, bank accounts) are counted only if it is right.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_PHONE = re.compile(r"(?<![\w.+-])(?:\+\d(?:[ ().-]{0,2}\d){7,14}|\(?\d{3}\)?[ .-]\d{3}[.-]\d{4})(?![\w-])")
_ADDRESS = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\d)")
_CARD = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])")
_ACCOUNT = re.compile(r"(?<!\w)[A-Z]{2}\d\d(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)")
_US_SOCIAL = re.compile(r"(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d\d-(?!0000)\d{4}(?![\w-])")


def personal_data_in(text: str) -> dict[str, int]:
    """How many of each kind a text holds; kinds that it has none of are left out."""
    counts = {
        kind: sum(is_right(match.group()) for match in pattern.finditer(text))
        for kind, (pattern, is_right) in _KINDS.items()
    }
    return {kind: number for kind, number in counts.items() if number}


def _always(found: str) -> bool:
    return True


def _is_public_address(found: str) -> bool:
    try:
        return ipaddress.ip_address(found).is_global
    except ValueError:
        return False


def _has_card_check(found: str) -> bool:
    """Luhn's sum."""
    digits = [int(one) for one in reversed(found) if one.isdigit()]
    doubled = [sum(divmod(2 * one, 10)) for one in digits[1::2]]
    return len(set(digits)) > 1 and (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _has_account_check(found: str) -> bool:
    """ISO 13616: the number that its letters and digits make leaves 1 by 97."""
    plain = found.replace(" ", "")
    moved = plain[4:] + plain[:4]
    return 15 <= len(plain) <= 34 and int("".join(str(int(one, 36)) for one in moved)) % 97 == 1


_KINDS: dict[str, tuple[re.Pattern[str], Callable[[str], bool]]] = {
    "e-mail address": (_EMAIL, _always),
    "phone number": (_PHONE, _always),
    "public IP address": (_ADDRESS, _is_public_address),
    "payment card": (_CARD, _has_card_check),
    "bank account (IBAN)": (_ACCOUNT, _has_account_check),
    "US social security number": (_US_SOCIAL, _always),
}
