"""Certificates and signed tokens for test registries, made with openssl."""
import base64
import json
import pathlib
import subprocess
import time


def openssl(*args, data=None) -> bytes:
    return subprocess.run(["openssl", *map(str, args)], input=data, check=True, capture_output=True).stdout


class Authority:
    """A certificate authority of its own: `ca` is its certificate, `certificate` and `key` a server's for 127.0.0.1."""

    def __init__(self, folder: pathlib.Path):
        self.ca, ca_key = folder / "ca.pem", folder / "ca.key"
        self.certificate, self.key = folder / "server.pem", folder / "server.key"
        new = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2")
        openssl(*new, "-subj", "/CN=NanoBox test CA", "-keyout", ca_key, "-out", self.ca)
        openssl(*new, "-subj", "/CN=registry", "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE",
                "-CA", self.ca, "-CAkey", ca_key, "-keyout", self.key, "-out", self.certificate)

    def sign(self, claims: dict) -> str:
        """A JWT of the server's key, which carries its certificate."""
        der = base64.b64encode(openssl("x509", "-in", self.certificate, "-outform", "DER")).decode()
        parts = [base64url(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "RS256", "x5c": [der]}, claims)]
        signature = openssl("dgst", "-sha256", "-sign", self.key, data=".".join(parts).encode())
        return ".".join([*parts, base64url(signature)])


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token_claims(issuer: str, service: str, user: str, scopes) -> dict:
    """What docker-registry wants in a token; a scope is `repository:NAME:ACTIONS`."""
    now = int(time.time())
    access = [{"type": kind, "name": name, "actions": actions.split(",")} for kind, name, actions in
              (scope.split(":") for scope in scopes)]
    return {"iss": issuer, "aud": service, "sub": user, "iat": now, "nbf": now - 60, "exp": now + 600, "jti": str(now),
            "access": access}
