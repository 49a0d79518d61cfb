"""Passwords: scrypt hashes, and what is asked of a new one.

Knows: the hash format `scrypt$log2n$r$p$salt$hash`. Does not know: users.
Cost: 2**15 blocks of 8 = 32 MiB and about 0.1 s a try, the OWASP minimum for scrypt
(https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html, p=3 at 2**15).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

from core.errors import Invalid

LOG2_N, R, P = 15, 8, 3
MIN_LENGTH, MAX_LENGTH = 10, 1024
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that reads like something else


def hash_password(password: str) -> str:
    """The text to store: parameters, salt and hash."""
    salt = secrets.token_bytes(16)
    return "$".join(
        ("scrypt", str(LOG2_N), str(R), str(P), _text(salt), _text(_scrypt(password, salt)))
    )


def verify_password(password: str, stored: str | None) -> bool:
    """Whether the password is the one; takes as long when there is none to compare with."""
    known = stored is not None
    _, log2_n, r, p, salt, expected = (stored or _NOBODY).split("$")
    found = _scrypt(password[:MAX_LENGTH], _bytes(salt), int(log2_n), int(r), int(p))
    return hmac.compare_digest(found, _bytes(expected)) and known


def check_new_password(password: str, *, name: str) -> None:
    """Raise Invalid saying what is wrong with a new password."""
    if len(password) < MIN_LENGTH:
        raise Invalid(f"Take at least {MIN_LENGTH} characters.", field="password")
    if len(password) > MAX_LENGTH:
        raise Invalid(f"Take at most {MAX_LENGTH} characters.", field="password")
    if len(set(password)) < 4 or password.casefold() == name.casefold():
        raise Invalid("That password is too easy to guess.", field="password")


def random_password() -> str:
    """Four groups of five characters: 99 bits, easy to copy by hand."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(4))


def _scrypt(password: str, salt: bytes, log2_n: int = LOG2_N, r: int = R, p: int = P) -> bytes:
    n = 2**log2_n
    return hashlib.scrypt(
        password.encode(), salt=salt, n=n, r=r, p=p, maxmem=2 * 128 * n * r, dklen=32
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)


_NOBODY = f"scrypt${LOG2_N}${R}${P}${_text(bytes(16))}${_text(bytes(32))}"
