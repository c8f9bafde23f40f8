/**
 * What stands in for an authority where there is none. Kyverno's ImageValidatingPolicy asks a TUF repository for a certificate authority and
 * for a certificate-transparency log, even for a plain key, and gives up without. Nobody has the private key: the point's x coordinate is
 * SHA-256 of `airseal: a key that nobody has, 2` (the first number that gives a point of P-256), its y is even.
 */
export const NOBODY_KEY = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE0Am+EFw4GhTZdeaDZxbenZLuydr0
Z+u5K83Jltu7MFSWOBDHOki+j6E9Pp5UvNn+lpIMG7MMudqdkEJxJdGeMg==
-----END PUBLIC KEY-----
`

/** A certificate of that key, long expired, whose signature is none: nothing can be issued by it, and nothing of it can verify. */
export const NOBODY_CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBPzCCASSgAwIBAgIBATAKBggqhkjOPQQDAjA0MTIwMAYDVQQDDClhaXJzZWFs
OiBub2JvZHksIG5vIGNlcnRpZmljYXRlIGF1dGhvcml0eTAiGA8xOTcwMDEwMTAw
MDAwMFoYDzE5NzAwMTAxMDAwMDAxWjA0MTIwMAYDVQQDDClhaXJzZWFsOiBub2Jv
ZHksIG5vIGNlcnRpZmljYXRlIGF1dGhvcml0eTBZMBMGByqGSM49AgEGCCqGSM49
AwEHA0IABNAJvhBcOBoU2XXmg2cW3p2S7sna9GfruSvNyZbbuzBUljgQxzpIvo+h
PT6eVLzZ/paSDBuzDLnanZBCcSXRnjKjIzAhMA4GA1UdDwEB/wQEAwIABjAPBgNV
HRMBAf8EBTADAQH/MAoGCCqGSM49BAMCAwkAMAYCAQECAQE=
-----END CERTIFICATE-----
`
