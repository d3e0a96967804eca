# SPDX-License-Identifier: Apache-2.0
"""A real nginx that serves one directory as the Hub's storage would: plain, at a rate on each
connection, and over TLS with an authority of its own."""

import pathlib
import shutil
import socket
import subprocess
import sys

from figures import cpu_of
import world

CONFIG = """
daemon off; master_process on; worker_processes auto; pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off; sendfile on; keepalive_requests 100000;
    client_body_temp_path {dir}/t; proxy_temp_path {dir}/t; fastcgi_temp_path {dir}/t;
    uwsgi_temp_path {dir}/t; scgi_temp_path {dir}/t;
    ssl_certificate {dir}/site.pem; ssl_certificate_key {dir}/site.key;
    server {{ listen 127.0.0.1:{plain}; root {dir}/www; }}
    server {{ listen 127.0.0.1:{slow}; root {dir}/www; limit_rate {rate}; }}
    server {{ listen 127.0.0.1:{tls} ssl; root {dir}/www; }}
}}
"""

# {program: the Debian package that has it}
NEEDED = {"nginx": "nginx-light", "curl": "curl", "aria2c": "aria2", "openssl": "openssl"}


def demand_programs(needed):
    missing = [package for name, package in needed.items() if not shutil.which(name)]
    if missing:
        sys.exit(f"this benchmark needs more programs: apt-get install {' '.join(missing)}")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def make_certificates(folder):
    """Makes ca.pem, and site.pem with site.key, which ca.pem signs."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *key, "-days", 1, "-subj", "/CN=bench authority",
            "-keyout", folder / "ca.key", "-out", folder / "ca.pem")
    openssl("req", *key, "-subj", "/CN=127.0.0.1", "-keyout", folder / "site.key",
            "-out", folder / "site.csr")
    (folder / "site.ext").write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    openssl("x509", "-req", "-in", folder / "site.csr", "-CA", folder / "ca.pem",
            "-CAkey", folder / "ca.key", "-CAcreateserial", "-days", 1,
            "-extfile", folder / "site.ext", "-out", folder / "site.pem")


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Storage:
    def __init__(self, folder, rate="50m"):
        self.folder = pathlib.Path(folder)
        self.www = self.folder / "www"
        self.authority = self.folder / "ca.pem"
        self.ports = {kind: free_port() for kind in ("plain", "slow", "tls")}
        self.rate = rate

    def __enter__(self):
        for path in (self.www, self.folder / "t"):
            path.mkdir()
        make_certificates(self.folder)
        config = self.folder / "nginx.conf"
        config.write_text(CONFIG.format(dir=self.folder, rate=self.rate, **self.ports))
        self.nginx = subprocess.Popen(["nginx", "-p", self.folder, "-c", config, "-e",
                                       self.folder / "error.log"])
        world.wait_until(lambda: listens(self.ports["tls"]), "nginx listens")
        return self

    def __exit__(self, *_):
        self.nginx.terminate()
        self.nginx.wait()

    def url(self, kind, name):
        scheme = "https" if kind == "tls" else "http"
        return f"{scheme}://127.0.0.1:{self.ports[kind]}/{name}"

    def cpu(self):
        """The processor seconds that nginx has used so far."""
        pid = self.nginx.pid
        workers = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return sum(cpu_of(each) for each in [pid, *workers])

    def ca_env(self):
        """The variables that name the authority to clients."""
        names = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
        return {name: str(self.authority) for name in names}
