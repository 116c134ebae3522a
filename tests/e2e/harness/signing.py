"""The signature of API version 2, as the specification's section A.6 describes it."""

import base64
import hashlib
import hmac
import random
import time
import urllib.parse

_nonces = random.SystemRandom()


def string_to_sign(method, host, path, params):
    """`params`: pairs of name and value, decoded. `_` in a name becomes `.`, then sorted by bytes."""
    named = sorted((name.replace("_", ".").encode(), value.encode()) for name, value in params if name != "Signature")
    joined = b"&".join(name + b"=" + value for name, value in named)
    return method.upper().encode() + host.encode() + path.encode() + b"?" + joined


def signature(secret_key, method, host, path, params):
    """Base64 of HMAC-SHA256 when SignatureMethod says exactly that, of HMAC-SHA1 otherwise."""
    sha256 = ("SignatureMethod", "HmacSHA256") in list(params)
    digest = hashlib.sha256 if sha256 else hashlib.sha1
    mac = hmac.new(secret_key.encode(), string_to_sign(method, host, path, params), digest)
    return base64.b64encode(mac.digest()).decode()


def flatten(params):
    """Nested lists and dicts as dotted names with indexes from 0, as the official clients send them."""
    pairs = []

    def walk(name, value):
        if value is None:
            return
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{name}.{key}" if name else str(key), inner)
        elif isinstance(value, (list, tuple)):
            for index, inner in enumerate(value):
                walk(f"{name}.{index}", inner)
        else:
            pairs.append((name, str(value)))

    walk("", params)
    return pairs


def nonce():
    """A fresh Nonce: 63 random bits, so that no two calls of a test run share one."""
    return str(_nonces.getrandbits(63))


def signed(secret_id, secret_key, method, host, action, params, path="/v2/index.php", common=None):
    """All parameters of a call as pairs, Signature last.

    `common` replaces common parameters; a value of None leaves one out.
    """
    head = {
        "Action": action,
        "Timestamp": str(int(time.time())),
        "Nonce": nonce(),
        "SecretId": secret_id,
        "SignatureMethod": "HmacSHA256",
    }
    head.update(common or {})
    pairs = [(name, str(value)) for name, value in head.items() if value is not None and name != "Signature"]
    pairs += flatten(params) if isinstance(params, dict) else list(params)
    given = (common or {}).get("Signature", "")
    if given is not None:
        pairs.append(("Signature", given or signature(secret_key, method, host, path, pairs)))
    return pairs


def encode(pairs):
    """`application/x-www-form-urlencoded`, blanks as `+`, as Python's, Java's and Go's clients do."""
    return urllib.parse.urlencode(pairs)
