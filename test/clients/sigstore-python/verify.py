"""Verifies a Sigstore bundle by what sigstore-python has got from a TUF repository that it was told to trust:

    verify.py MIRROR KEY BUNDLE

Prints the version of the root that is trusted. sigstore-python itself verifies bundles with certificates alone, so the signature by
the key is checked here; the trusted root and the proofs of the log are its own business.
"""

import base64
import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sigstore._internal.trust import KeyringPurpose
from sigstore._internal.tuf import TrustUpdater
from sigstore.models import ClientTrustConfig, TransparencyLogEntry
from sigstore_models.rekor.v1 import TransparencyLogEntry as Inner


def main(mirror: str, key_file: str, bundle_file: str) -> None:
    config = ClientTrustConfig.from_tuf(mirror)
    keyring = config.trusted_root.rekor_keyring(KeyringPurpose.VERIFY)

    bundle = json.loads(Path(bundle_file).read_text())
    envelope = bundle["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"]
    signed = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
    key = serialization.load_pem_public_key(Path(key_file).read_bytes())
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))

    (entry,) = bundle["verificationMaterial"]["tlogEntries"]
    TransparencyLogEntry(Inner.from_json(json.dumps(entry)))._verify(keyring)
    body = json.loads(base64.b64decode(entry["canonicalizedBody"]))
    assert body["spec"]["signatures"][0]["signature"] == envelope["signatures"][0]["sig"]

    root = json.loads((TrustUpdater(mirror)._metadata_dir / "root.json").read_text())
    print(root["signed"]["version"])


main(*sys.argv[1:])
