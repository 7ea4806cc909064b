"""What to say when a server's certificate is refused: the same for a broker, a database and a mail relay."""

from __future__ import annotations

import re

# OpenSSL's words by way of Python, which PostgreSQL's library shortens to the first three.
_REFUSED = re.compile(r"certificate verify failed(?:: ([^(]{1,80}) \()?")
_OTHER_HOST = re.compile(r"mismatch, certificate is not valid for|does not match host name")


def advice(said: object) -> str | None:
    """Say what to mend when an error, or its text, is about a refused certificate; None when about anything else."""
    text = said if isinstance(said, str) else repr(said)  # in which pika shows the errors inside an error
    if _OTHER_HOST.search(text):
        return "the server's certificate is for another host name: call the server by the name in its certificate"
    if not (found := _REFUSED.search(text)):
        return None
    place = "SSL_CERT_FILE" if "CERTIFICATE_VERIFY_FAILED" in text else "sslrootcert, in the URL"
    why = f" ({found.group(1)})" if found.group(1) else ""
    return f"the server's certificate is not trusted{why}: name the CA that vouches for it in {place}"
