"""Servers on 127.0.0.1 for programs that fetch or bring files: HTTP that drips and breaks, SSH, FTP, WebDAV."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from rig import RATE, need, run, started, wait_for


class _Drip(BaseHTTPRequestHandler):
    """Serves the files of a directory at RATE, by ranges too; while `breaks` is positive an answer ends half way."""

    protocol_version = "HTTP/1.1"
    server: _Http

    def do_HEAD(self) -> None:
        """Tell the size."""
        self._answer(body=False)

    def do_GET(self) -> None:
        """Send the file, or a range of it, slowly."""
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        try:
            content = (self.server.root / self.path.lstrip("/")).read_bytes()
        except OSError:
            self.send_error(404)
            return
        begin, end = 0, len(content)
        asked = self.headers.get("Range", "")
        if asked.startswith("bytes="):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            begin, end = int(first), min(end, int(last) + 1) if last else end
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(end - begin))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Last-Modified", "Mon, 01 Jun 2026 12:00:00 GMT")
        if asked:
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(content)}")
        self.end_headers()
        if body:
            self._drip(content[begin:end])

    def _drip(self, content: bytes) -> None:
        breaks = self.server.take_break()
        step = RATE // 10
        for at in range(0, len(content), step):
            if breaks and at > len(content) // 2:
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            try:
                self.wfile.write(content[at : at + step])
            except OSError:
                self.close_connection = True
                return
            time.sleep(0.1)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, root: Path, breaks: int) -> None:
        super().__init__(("127.0.0.1", 0), _Drip)
        self.root = root
        self._breaks = breaks
        self._lock = threading.Lock()

    def take_break(self) -> bool:
        """Whether this answer ends half way."""
        with self._lock:
            self._breaks -= 1
            return self._breaks >= 0

    def handle_error(self, *words: object) -> None:
        """A client that goes away is no news."""


@contextmanager
def http(root: Path, *, breaks: int = 0) -> Iterator[str]:
    """Serve the files of `root`; the first `breaks` answers end half way. Yields the URL."""
    server = _Http(root, breaks)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


class Ssh:
    """How to reach the SSH server: words for ssh, scp and sftp."""

    def __init__(self, port: int, config: Path) -> None:
        self.port = port
        self.options = ["-F", str(config)]
        self.host = "drop"


@contextmanager
def ssh(root: Path) -> Iterator[Ssh]:
    """Run an OpenSSH server with keys of its own, for the user who runs this."""
    need("sshd", "ssh", "ssh-keygen")
    place = root / "ssh"
    place.mkdir()
    Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("host", "user"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / name)
    (place / "authorized").write_text((place / "user.pub").read_text())
    port = free_port()
    server = place / "sshd_config"
    server.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {place}/host\nAuthorizedKeysFile {place}/authorized\n"
        f"StrictModes no\nUsePAM no\nPidFile {place}/pid\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n"
    )
    client = place / "config"
    client.write_text(
        f"Host drop\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile {place}/user\n  LogLevel ERROR\n"
        f"  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n"
    )
    with started("/usr/sbin/sshd", "-D", "-e", "-f", server, log=place / "log"):
        if not wait_for(lambda: _listens(port), 10):
            raise RuntimeError(f"sshd does not listen: {(place / 'log').read_text()[-500:]}")
        yield Ssh(port, client)


@contextmanager
def ftp(root: Path, folder: Path) -> Iterator[str]:
    """Run vsftpd for anonymous uploads into `folder`. Yields the URL."""
    need("vsftpd")
    port = free_port()
    config = root / "vsftpd.conf"
    folder.chmod(0o777)  # it writes as its own user
    folder.parent.chmod(0o755)
    config.write_text(
        f"listen=YES\nlisten_address=127.0.0.1\nlisten_port={port}\nanonymous_enable=YES\nlocal_enable=NO\n"
        f"write_enable=YES\nanon_upload_enable=YES\nanon_mkdir_write_enable=YES\nanon_other_write_enable=YES\n"
        f"anon_root={folder.parent}\nallow_writeable_chroot=YES\nno_anon_password=YES\nanon_umask=022\n"
        f"secure_chroot_dir=/run/vsftpd/empty\nbackground=NO\nseccomp_sandbox=NO\n"
    )
    Path("/run/vsftpd/empty").mkdir(parents=True, exist_ok=True)
    with started("/usr/sbin/vsftpd", config, log=root / "vsftpd.log"):
        if not wait_for(lambda: _listens(port), 10):
            raise RuntimeError(f"vsftpd does not listen: {(root / 'vsftpd.log').read_text()[-500:]}")
        yield f"ftp://127.0.0.1:{port}/{folder.name}"


@contextmanager
def dav(root: Path, folder: Path) -> Iterator[str]:
    """Run nginx, which takes PUT into `folder` by way of a temporary file elsewhere. Yields the URL."""
    need("nginx")
    port = free_port()
    place = root / "nginx"
    place.mkdir()
    config = place / "nginx.conf"
    config.write_text(
        f"user root;\ndaemon off;\npid {place}/pid;\nerror_log {place}/log;\nevents {{}}\nhttp {{\n"
        f"  access_log off;\n  client_body_temp_path {place}/body;\n  proxy_temp_path {place}/a;\n"
        f"  fastcgi_temp_path {place}/b;\n  uwsgi_temp_path {place}/c;\n  scgi_temp_path {place}/d;\n"
        f"  server {{ listen 127.0.0.1:{port}; client_max_body_size 100m;\n"
        f"    location / {{ root {folder}; dav_methods PUT; create_full_put_path on; }} }}\n}}\n"
    )
    with started("/usr/sbin/nginx", "-p", place, "-c", config, log=place / "out"):
        if not wait_for(lambda: _listens(port), 10):
            raise RuntimeError(f"nginx does not listen: {(place / 'out').read_text()[-500:]}")
        yield f"http://127.0.0.1:{port}"


def is_mounted(place: Path) -> bool:
    """Whether a file system is mounted at `place`."""
    return os.path.ismount(place)
