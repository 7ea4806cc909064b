"""A Postfix of our own: the relay that a user would run, taking every mail and keeping none."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from deploy.local.state import ports
from tests.outside.certificate import Authority

Security = Literal["none", "starttls", "tls"]
HOST = "127.0.0.1"
MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = /var/log/{name}.log
mail_owner = postfix
setgid_group = postdrop
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
inet_interfaces = 127.0.0.1
mynetworks = 127.0.0.0/8
mydestination =
default_transport = discard
relay_transport = discard
myhostname = bench.example.com
local_recipient_maps =
alias_maps =
alias_database =
smtpd_peername_lookup = no
smtpd_client_connection_rate_limit = 0
smtpd_tls_cert_file = {own.file}
smtpd_tls_key_file = {own.key_file}
smtpd_tls_security_level = {tls}
"""
MASTER = """\
{host}:{port} inet n - n - - smtpd -o smtpd_tls_wrappermode={wrapped}
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


class Relay:
    """Run the relay while in the context; ``port`` and ``ca_file`` say how to reach it.

    Parameters:
        security: as in the setting ``smtp_security``.

    Raises:
        SystemExit: there is no Postfix here, or nobody may start it.
    """

    def __init__(self, security: Security) -> None:
        if not shutil.which("postfix", path="/usr/sbin"):
            raise SystemExit("this figure needs a Postfix: apt-get install postfix (as root; it need not be running)")
        self._folder = Path(tempfile.mkdtemp(prefix="bench-relay-"))
        self._folder.chmod(0o755)  # its processes run as their own user
        self.port = ports(self._folder, "relay")["relay"]
        authority = Authority(self._folder)
        self.ca_file, self._certificate = authority.file, authority.issue(HOST)
        self._configure(security)

    def _configure(self, security: Security) -> None:
        for part in ("conf", "queue", "data"):
            (self._folder / part).mkdir()
        shutil.chown(self._folder / "data", "postfix")
        tls, wrapped = ("none", "no") if security == "none" else ("may", "yes" if security == "tls" else "no")
        main = MAIN.format(folder=self._folder, name=self._folder.name, own=self._certificate, tls=tls)
        (self._folder / "conf" / "main.cf").write_text(main)
        master = MASTER.format(host=HOST, port=self.port, wrapped=wrapped)
        (self._folder / "conf" / "master.cf").write_text(master)
        for name in ("postfix-files", "dynamicmaps.cf"):
            shutil.copy(f"/etc/postfix/{name}", self._folder / "conf")

    def _postfix(self, verb: str) -> None:
        command = ["/usr/sbin/postfix", "-c", str(self._folder / "conf"), verb]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 (a fixed program)

    def __enter__(self) -> Self:
        self._postfix("start")  # returns when the port is open
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._postfix("stop")
        shutil.rmtree(self._folder)
        Path(f"/var/log/{self._folder.name}.log").unlink(missing_ok=True)
