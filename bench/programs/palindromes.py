import re
import unicodedata


def is_palindrome(text: str) -> bool:
    plain = unicodedata.normalize("NFKD", text.casefold())
    letters = re.sub(r"[\W_]|[\u0300-\u036f]", "", plain)
    return letters == letters[::-1]


assert is_palindrome("")
assert is_palindrome("A man, a plan, a canal: Panama!")
assert is_palindrome("Été")
assert not is_palindrome("parity")
assert is_palindrome("12_21")
